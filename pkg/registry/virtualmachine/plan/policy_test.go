// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/plan"
)

// policies has one, "cluster", which has a pool in zone a alone.
type policies struct {
	err         error
	asked, done []string
}

func (p *policies) Use(_ context.Context, namespace, name, group, machine string) (facts.ID, map[facts.ID]facts.ID, error) {
	p.asked = append(p.asked, strings.Join([]string{namespace, name, group, machine}, " "))
	return id("Folder", "group-9"), map[facts.ID]facts.ID{id("ResourcePool", "pool-a"): id("ResourcePool", "pool-9")}, p.err
}

func (p *policies) Done(namespace, machine string) { p.done = append(p.done, namespace+" "+machine) }

func ofPolicy() *vmopv1.VirtualMachine {
	vm := wanted()
	vm.Labels = nil
	vm.Annotations = map[string]string{vmoperator.ModuleGroupAnnotation: "workers"}
	vm.Spec.Reserved = &vmopv1.VirtualMachineReservedSpec{ResourcePolicyName: "cluster"}
	return vm
}

// A machine of a resource policy lies in its folder and takes from its pool, and is the namespace's all the same.
func TestResourcePolicy(t *testing.T) {
	w, p := newWorld(), &policies{}
	shell, forgo, err := (&plan.Planner{Classes: w, Images: w, Site: w, Places: w, Policies: p}).Plan(t.Context(), ofPolicy())
	if err != nil {
		t.Fatal(err)
	}
	got := [3]facts.ID{shell.Home, shell.Folder, shell.Pool}
	if want := [3]facts.ID{id("Folder", "group-1"), id("Folder", "group-9"), id("ResourcePool", "pool-9")}; got != want {
		t.Errorf("home, folder and pool are %v, want %v", got, want)
	}
	if diff := cmp.Diff([]facts.ID{id("ResourcePool", "pool-a")}, w.wish.Pools); diff != "" {
		t.Errorf("a place is asked for in (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"team-a cluster workers uid-1"}, p.asked); diff != "" || p.done != nil {
		t.Errorf("done with %v, asked for (-want +got):\n%s", p.done, diff)
	}
	forgo()
	if diff := cmp.Diff([]string{"team-a uid-1"}, p.done); diff != "" {
		t.Errorf("done with (-want +got):\n%s", diff)
	}
}

func TestResourcePolicyRefused(t *testing.T) {
	for name, test := range map[string]struct {
		err        error
		change     func(*world)
		kind       failure.Kind
		says, done string
	}{
		"no such policy": {err: failure.NotFound, kind: failure.Invalid,
			says: `spec.reserved.resourcePolicyName: there is no resource policy "cluster" in the namespace`},
		"being deleted": {err: fmt.Errorf("it is being deleted: %w", failure.Conflict), kind: failure.Conflict,
			says: "spec.reserved.resourcePolicyName: it is being deleted"},
		"no such group": {err: fmt.Errorf("it has no group: %w", failure.Invalid), kind: failure.Invalid,
			says: "metadata.annotations[vsphere-cluster-module-group]: it has no group"},
		"not there yet": {err: failure.Unavailable, kind: failure.Unavailable, says: "spec.reserved.resourcePolicyName"},
		"no room":       {change: func(w *world) { w.full = failure.ResourceExhausted }, kind: failure.ResourceExhausted, done: "team-a uid-1"},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := newWorld(), &policies{err: test.err}
			if test.change != nil {
				test.change(w)
			}
			_, _, err := (&plan.Planner{Classes: w, Images: w, Site: w, Places: w, Policies: p}).Plan(t.Context(), ofPolicy())
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want a failure of the kind %q that says %q", err, test.kind, test.says)
			}
			if done := strings.Join(p.done, ","); done != test.done {
				t.Errorf("done with %q, want %q", done, test.done)
			}
		})
	}
}
