// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func TestQuestion(t *testing.T) {
	v := Run(t, Options{})
	ctx := context.Background()
	i := inventoryOf(t, v)
	web, db := i.vm("web-1"), i.vm("db-1")
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "runtime.powerState", "runtime.question.text")
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}
	if err := v.Ask(web.Reference(), "Moved or copied?", "Moved", "Copied"); err != nil {
		t.Fatal(err)
	}
	if err := v.Ask(web.Reference(), "And again?"); err == nil {
		t.Error("a machine is asked two questions")
	}
	if diff := cmp.Diff([]string{"modify VirtualMachine runtime.question.text=Moved or copied?"},
		s.until("copied")); diff != "" {
		t.Errorf("told of the question (-want +got):\n%s", diff)
	}

	// Its power waits, and nothing else does.
	off, err := web.PowerOff(ctx)
	if err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := off.WaitEx(waiting); err == nil || waiting.Err() == nil {
		t.Errorf("the power-off ended with %v before the answer", err)
	}
	refused[*types.InvalidState](t, web.ShutdownGuest(ctx))
	i.do(db.PowerOn(ctx))
	props := i.read(web)
	if props.Runtime.Question == nil || props.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		t.Errorf("while it waits: %s, %v", props.Runtime.PowerState, props.Runtime.Question)
	}
	var task mo.Task
	if err := property.DefaultCollector(i.client.Client).RetrieveOne(ctx, off.Reference(), []string{"info"},
		&task); err != nil {
		t.Fatal(err)
	}
	if task.Info.State != types.TaskInfoStateRunning || *task.Info.Entity != web.Reference() ||
		task.Info.DescriptionId != "VirtualMachine.powerOff" {
		t.Errorf("the task that waits: %+v", task.Info)
	}

	id := props.Runtime.Question.Id
	refused[*types.InvalidArgument](t, web.Answer(ctx, "of another", "0"))
	refused[*types.InvalidArgument](t, web.Answer(ctx, id, "2"))
	if err := web.Answer(ctx, id, "1"); err != nil {
		t.Fatal(err)
	}
	if err := off.WaitEx(ctx); err != nil {
		t.Error(err)
	}
	s.until("runtime.question.text=<nil>", "poweredOff")
	refused[*types.InvalidArgument](t, web.Answer(ctx, id, "1"))
	i.do(web.PowerOn(ctx))
}

// TestQuestionEndsWithVCenter closes a vCenter whose machine waits: nothing runs on.
func TestQuestionEndsWithVCenter(t *testing.T) {
	v, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := inventoryOf(t, v)
	if err := v.Ask(i.vm("db-1").Reference(), "Ready?"); err != nil {
		t.Fatal(err)
	}
	on, err := i.vm("db-1").PowerOn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	task := v.Simulator().Context.Map.Get(on.Reference())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		task.(interface{ Wait() }).Wait()
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the task waits on")
	}
}
