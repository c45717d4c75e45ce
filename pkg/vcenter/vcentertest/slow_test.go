// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

// takesTime is a vCenter whose time a test has in its hands.
type takesTime struct {
	*inventory
	vcenter *VCenter
	clock   *clocktesting.FakeClock
}

// inNoTime is a vCenter in which a method takes 20 seconds.
func inNoTime(t *testing.T, methods ...string) *takesTime {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Now())
	v := Run(t, Options{Clock: clock})
	for _, method := range methods {
		v.AddFault(fault.Rule{Method: method, Shape: fault.Slow, Delay: 20 * time.Second})
	}
	return &takesTime{inventory: inventoryOf(t, v), vcenter: v, clock: clock}
}

// info is what there is to see of a task now.
func (s *takesTime) info(task *object.Task) types.TaskInfo {
	s.t.Helper()
	var props mo.Task
	if err := task.Properties(context.Background(), task.Reference(), []string{"info"}, &props); err != nil {
		s.t.Fatal(err)
	}
	return props.Info
}

// pass lets seconds of a task's time go by.
func (s *takesTime) pass(task *object.Task, seconds int) {
	s.t.Helper()
	for range seconds {
		before := s.info(task).Progress
		s.clock.Step(time.Second)
		waittest.Eventually(s.t, "its progress moves", func() bool {
			info := s.info(task)
			return info.Progress > before || info.State != types.TaskInfoStateRunning
		})
	}
}

func (s *takesTime) started(task *object.Task, err error) *object.Task {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	return task
}

// TestSlowTask: the progress of a task moves, what it is about can be read and listed meanwhile, others go on, and the
// work is done at the end.
func TestSlowTask(t *testing.T) {
	s := inNoTime(t, "ReconfigVM_Task")
	ctx := t.Context()
	db := s.vm("db-1")
	views := newStream(t, s.vcenter, s.folder(namespaces).Reference(), "VirtualMachine", "name", "config.hardware.numCPU")
	task := s.started(db.Reconfigure(ctx, types.VirtualMachineConfigSpec{NumCPUs: 6}))
	if info := s.info(task); info.State != types.TaskInfoStateRunning || info.Name != "ReconfigVM_Task" ||
		info.EntityName != "db-1" || !info.Cancelable {
		t.Errorf("task: %+v", info)
	}
	for _, percent := range []int32{25, 50, 75} {
		s.pass(task, 5)
		if got := s.info(task).Progress; got != percent {
			t.Errorf("progress %d, want %d", got, percent)
		}
	}
	views.start("enter VirtualMachine name=cache-1 config.hardware.numCPU=2",
		"enter VirtualMachine name=db-1 config.hardware.numCPU=4",
		"enter VirtualMachine name=web-1 config.hardware.numCPU=2")
	s.do(s.vm("cache-1").PowerOff(ctx))

	for name, act := range map[string]func() (*object.Task, error){
		"reconfigure": func() (*object.Task, error) {
			return db.Reconfigure(ctx, types.VirtualMachineConfigSpec{NumCPUs: 8})
		},
		"power on": func() (*object.Task, error) { return db.PowerOn(ctx) },
		"destroy":  func() (*object.Task, error) { return db.Destroy(ctx) },
	} {
		_, err := s.try(act())
		if got := kindOf(err); got != "TaskInProgress" {
			t.Errorf("%s meanwhile: %s", name, got)
		}
	}

	s.pass(task, 5)
	if err := task.WaitEx(ctx); err != nil {
		t.Fatal(err)
	}
	if info := s.info(task); info.Progress != 100 || info.Cancelable {
		t.Errorf("task at its end: %+v", info)
	}
	if got := s.read(db).Config.Hardware.NumCPU; got != 6 {
		t.Errorf("%d CPUs", got)
	}
	_, err := methods.CancelTask(ctx, s.client, &types.CancelTask{This: task.Reference()})
	refused[*types.InvalidState](t, err)
}

// TestSlowResult: a slow task results in what the quick one does.
func TestSlowResult(t *testing.T) {
	s := inNoTime(t, "CreateVM_Task", "PowerOnVM_Task", "Destroy_Task")
	ctx := t.Context()
	whole := func(task *object.Task) *types.TaskInfo {
		t.Helper()
		s.pass(task, 20)
		info, err := task.WaitForResult(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	vm := s.made(whole(s.started(s.folder(namespaces+"/team-a").CreateVM(ctx, with(), s.pool(), nil))))
	if got := s.read(vm).Name; got != "new" {
		t.Errorf("name %q", got)
	}
	whole(s.started(vm.PowerOn(ctx)))
	s.state(vm, types.VirtualMachinePowerStatePoweredOn)
	s.do(vm.PowerOff(ctx))
	whole(s.started(vm.Destroy(ctx)))
	if names := machineNames(s.inventory); slices.ContainsFunc(names,
		func(name string) bool { return strings.HasSuffix(name, "/new") }) {
		t.Errorf("machines: %q", names)
	}
}

// TestCancel: a task that is cancelled does nothing, and one that cannot be says so.
func TestCancel(t *testing.T) {
	s := inNoTime(t, "CreateVM_Task", "ReconfigVM_Task", "PowerOnVM_Task", "Destroy_Task")
	ctx := t.Context()
	web, db := s.vm("web-1"), s.vm("db-1")
	before, files, read := machineNames(s.inventory), s.vcenter.onDisk(t), s.read(db).Config
	for name, act := range map[string]func() (*object.Task, error){
		"create": func() (*object.Task, error) {
			return s.folder(namespaces+"/team-a").CreateVM(ctx, with(), s.pool(), nil)
		},
		"reconfigure": func() (*object.Task, error) {
			return db.Reconfigure(ctx,
				types.VirtualMachineConfigSpec{NumCPUs: 8})
		},
		"power on": func() (*object.Task, error) { return db.PowerOn(ctx) },
		"destroy":  func() (*object.Task, error) { return db.Destroy(ctx) },
	} {
		task := s.started(act())
		s.pass(task, 10)
		if err := task.Cancel(ctx); err != nil {
			t.Errorf("cancel %s: %v", name, err)
		}
		_, err := task.WaitForResult(ctx)
		if got, info := kindOf(err), s.info(task); got != "RequestCanceled" || !info.Cancelled {
			t.Errorf("%s ends with %s, cancelled: %v", name, got, info.Cancelled)
		}
	}
	if diff := cmp.Diff(before, machineNames(s.inventory)); diff != "" {
		t.Errorf("machines before and after (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(files, s.vcenter.onDisk(t)); diff != "" {
		t.Errorf("files before and after (-before +after):\n%s", diff)
	}
	if now := s.read(db); now.Config.Hardware.NumCPU != read.Hardware.NumCPU ||
		now.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
		t.Errorf("the machine has %d CPUs and is %s", now.Config.Hardware.NumCPU, now.Runtime.PowerState)
	}

	if err := s.vcenter.Ask(web.Reference(), "Are you sure?"); err != nil {
		t.Fatal(err)
	}
	waits := s.started(web.PowerOff(ctx))
	refused[*types.NotSupported](t, waits.Cancel(ctx))
	if info := s.info(waits); info.State != types.TaskInfoStateRunning {
		t.Errorf("a task that could not be cancelled is %s", info.State)
	}
}

// TestSlowCopy: a copy has a part of its target while it goes on, which goes when it is cancelled, and stays when its
// directory is destroyed under it.
func TestSlowCopy(t *testing.T) {
	s := inNoTime(t, "CopyVirtualDisk_Task")
	ctx := t.Context()
	dc, err := s.finder.Datacenter(ctx, "DC0")
	if err != nil {
		t.Fatal(err)
	}
	disks := object.NewVirtualDiskManager(s.client.Client)
	copying := func(to string) *object.Task {
		t.Helper()
		task := s.started(disks.CopyVirtualDisk(ctx, "[datastore-1] web-1/disk-0.vmdk", dc, "[datastore-1] db-1/"+to, dc,
			nil, false))
		s.pass(task, 10)
		return task
	}
	s.do(s.vm("web-1").PowerOff(ctx)) // which has its disk for itself else
	before := s.vcenter.onDisk(t)
	left := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, newFiles(before, s.vcenter.onDisk(t))); diff != "" {
			t.Errorf("new files (-want +got):\n%s", diff)
		}
	}
	task := copying("copy.vmdk")
	left("/datastore-1/db-1/copy-flat.vmdk")
	if err := task.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = task.WaitForResult(ctx)
	refused[*types.RequestCanceled](t, err)
	left()

	task = copying("copy.vmdk")
	s.pass(task, 10)
	if err := task.WaitEx(ctx); err != nil {
		t.Fatal(err)
	}
	left("/datastore-1/db-1/copy-flat.vmdk", "/datastore-1/db-1/copy.vmdk")

	for source, want := range map[string]string{"[datastore-1] web-1/disk-0.vmdk": "FileAlreadyExists",
		"[datastore-1] web-1/nosuch.vmdk": "FileNotFound"} {
		_, err = s.try(disks.CopyVirtualDisk(ctx, source, dc, "[datastore-1] db-1/copy.vmdk", dc, nil, false))
		if got := kindOf(err); got != want {
			t.Errorf("copy of %s: %s, want %s", source, got, want)
		}
	}

	task = copying("late.vmdk")
	s.do(s.vm("db-1").Destroy(ctx))
	s.pass(task, 10)
	if err := task.WaitEx(ctx); err != nil {
		t.Fatal(err)
	}
	left("/datastore-1/db-1/late-flat.vmdk", "/datastore-1/db-1/late.vmdk")
}

// TestAtOnce: of changes of one machine that come at once the later ones fail, and all that come one after the other do
// not.
func TestAtOnce(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := t.Context()
	db, web := i.vm("db-1"), i.vm("web-1")
	rename := func(vm *object.VirtualMachine) string {
		task, err := vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{Annotation: "x"})
		if err == nil {
			_, err = task.WaitForResult(ctx)
		}
		return kindOf(err)
	}
	for range 30 {
		if got := rename(db); got != "nothing" {
			t.Fatalf("one after the other: %s", got)
		}
	}
	const many = 2
	results := make(chan string, 2*many)
	v.gate.turn.Lock() // so that all have come before the first one's turn
	unlock := sync.OnceFunc(v.gate.turn.Unlock)
	defer unlock()
	for n := range 2 * many {
		go func() {
			if n < many {
				results <- "db " + rename(db)
				return
			}
			results <- "web " + rename(web)
		}()
	}
	waittest.Eventually(t, "all calls have come", func() bool {
		v.gate.mu.Lock()
		defer v.gate.mu.Unlock()
		return v.gate.claimed[db.Reference()] == many && v.gate.claimed[web.Reference()] == many
	})
	unlock()
	count := map[string]int{}
	for range 2 * many {
		count[<-results]++
	}
	want := map[string]int{"db nothing": 1, "web nothing": 1, "db TaskInProgress": many - 1,
		"web TaskInProgress": many - 1}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("what became of them (-want +got):\n%s", diff)
	}
}
