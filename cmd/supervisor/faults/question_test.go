// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestUnansweredQuestionsHoldNobodyUp: as many machines wait for an answer as there are workers, and the power of
// others goes on.
func TestUnansweredQuestionsHoldNobodyUp(t *testing.T) {
	const asking = 16
	f := newFaulty(t, "questions")
	f.up(t)
	defer f.down(t)
	f.ready(t)
	a := f.Admin(t)
	namespace := a.Namespace("questions")
	var names []string
	var machines []*object.VirtualMachine
	for i := range asking {
		names = append(names, fmt.Sprintf("asking-%02d", i))
		vm := a.Create(namespace, names[i], supervisortest.PoweredOff)
		machines = append(machines, vm)
		if err := f.vcenter.Ask(vm.Reference(), "Did you move or copy it?"); err != nil {
			t.Fatal(err)
		}
	}
	a.Create(namespace, "other", supervisortest.PoweredOff)
	f.Serves(t, namespace, append(names, "other")...)
	on := []string{"--type=merge", "-p", `{"spec":{"powerState":"PoweredOn"}}`}
	f.Kubectl(t, append(append([]string{"patch", "vm", "-n", namespace}, names...), on...)...)
	f.Kubectl(t, append([]string{"patch", "vm", "-n", namespace, "other"}, on...)...)
	f.Kubectl(t, "wait", "vm", "-n", namespace, "other", "--for=jsonpath={.status.powerState}=PoweredOn", "--timeout=30s")
	f.Kubectl(t, "wait", "vm", "-n", namespace, names[0], "--for=condition=QuestionAnswered=false", "--timeout=20s")
	if got := f.Kubectl(t, "get", "vm", "-n", namespace, names[0], "-o", "yaml"); !strings.Contains(got,
		"Did you move or copy it?") {
		t.Errorf("nothing of the question in\n%s", got)
	}
	for _, vm := range machines {
		var props mo.VirtualMachine
		if err := a.Own(vm).Properties(t.Context(), vm.Reference(), []string{"runtime.question"}, &props); err != nil {
			t.Fatal(err)
		}
		if err := a.Own(vm).Answer(t.Context(), props.Runtime.Question.Id, "0"); err != nil {
			t.Fatal(err)
		}
	}
	waittest.Within(t, 60*time.Second, "all of them to be on", func(ctx context.Context) error {
		out, err := f.Try(ctx, "kubectl", "get", "vm", "-n", namespace, "--field-selector=status.powerState!=PoweredOn", "-o",
			"name")
		if err == nil && strings.Contains(out, "virtualmachine") {
			err = fmt.Errorf("not on: %s", out)
		}
		return err
	})
}
