// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter/identity"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// onTwo is Small with machines on a datastore of their own.
func onTwo(ctx context.Context, b *vcentertest.Builder) error {
	if err := errors.Join(vcentertest.Small(ctx, b), b.Datastore(ctx, "datastore-2")); err != nil {
		return err
	}
	const on = types.VirtualMachinePowerStatePoweredOn
	for name, power := range map[string]types.VirtualMachinePowerState{"far": on, "Far Away": on, "leaves": ""} {
		if _, err := b.VirtualMachine(ctx, vcentertest.VM{
			Name: name, Folder: "Namespaces/team-a", Cluster: "cluster-a", Datastore: "datastore-2",
			GuestID: "ubuntu64Guest", CPUs: 2, MemoryMB: 1024, Power: power,
		}); err != nil {
			return err
		}
	}
	return nil
}

// followed are the events of all machines, with their names and uids.
type followed struct {
	t      *testing.T
	events watch.Interface
}

func (s *server) follow() *followed {
	s.t.Helper()
	all := storage.ListOptions{Recursive: true, Predicate: storage.Everything}
	events, err := s.store.Watch(s.t.Context(), "/virtualmachines", all)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(events.Stop)
	return &followed{s.t, events}
}

// until returns the events of a machine up to the first for which done says so.
func (f *followed) until(name string, done func(*vmopv1.VirtualMachine) bool) (told []string) {
	f.t.Helper()
	waittest.Eventually(f.t, "what is awaited of "+name, func() bool {
		select {
		case event := <-f.events.ResultChan():
			vm, ok := event.Object.(*vmopv1.VirtualMachine)
			if !ok || vm.Name != name {
				return false
			}
			told = append(told, string(event.Type)+" "+string(vm.UID))
			return event.Type == watch.Deleted || done(vm)
		default:
			return false
		}
	})
	return slices.Compact(told)
}

// readable says whether vCenter tells the configuration of a machine.
func readable(vm *vmopv1.VirtualMachine) bool {
	return condition(vm, projection.ConfigurationReadableCondition) == ""
}

// TestMachinesWithoutConfigurationAreRemembered: a process begins while the datastore of some machines is inaccessible,
// so that vCenter tells neither who they are nor what is recorded in them.
func TestMachinesWithoutConfigurationAreRemembered(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: onTwo})
	a := newAdmin(t, v)
	memory := identity.New(nil, clock.RealClock{}, klog.Background())
	first := serveWith(t, v, memory)
	first.label("team-a/far", "app", "far")
	leaving := a.vm("team-a/leaves")
	before := first.list()
	first.stop()
	a.do(a.vm("team-a/far").Rename(t.Context(), "called otherwise")) // its record has the name
	if err := v.LoseDatastore("datastore-2"); err != nil {
		t.Fatal(err)
	}

	s := serveWith(t, v, memory)
	after := s.list()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after))); diff != "" {
		t.Fatalf("after a restart (-before +after):\n%s", diff)
	}
	for name, vm := range after {
		was := before[name]
		if vm.UID != was.UID || !vm.CreationTimestamp.Equal(&was.CreationTimestamp) ||
			vm.Status.PowerState != was.Status.PowerState ||
			vm.Status.NodeName != was.Status.NodeName || !slices.Equal(vm.Finalizers, was.Finalizers) {
			t.Errorf("%s before and after a restart:\n%+v\n%+v", name, was, vm)
		}
		remembered := !strings.HasSuffix(name, "-1")
		if readable(vm) == remembered {
			t.Errorf("%s: %s", name, condition(vm, projection.ConfigurationReadableCondition))
		}
	}
	tasks := s.writer.started()
	_, err := s.update("team-a/far", func(vm *vmopv1.VirtualMachine) {
		metav1.SetMetaDataLabel(&vm.ObjectMeta, "app", "near")
	})
	for verb, err := range map[string]error{"update": err, "delete": s.destroy("team-a/far")} {
		if !errors.Is(err, failure.Unavailable) ||
			!strings.Contains(err.Error(), "vCenter cannot read the virtual machine's configuration") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if got := s.writer.started(); got != tasks {
		t.Errorf("%d tasks were started", got-tasks)
	}

	events := s.follow()
	if err := leaving.Unregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	uid := string(before["team-a/leaves"].UID)
	never := func(*vmopv1.VirtualMachine) bool { return false }
	if diff := cmp.Diff([]string{"ADDED " + uid, "DELETED " + uid}, events.until("leaves", never)); diff != "" {
		t.Errorf("of one that leaves vCenter (-want +got):\n%s", diff)
	}
	if err := v.FindDatastore("datastore-2"); err != nil {
		t.Fatal(err)
	}
	uid = string(before["team-a/far"].UID)
	if diff := cmp.Diff([]string{"MODIFIED " + uid}, events.until("far", readable)); diff != "" {
		t.Errorf("of one that vCenter tells again (-want +got):\n%s", diff)
	}
	if vm := s.get("team-a/far"); vm.Labels["app"] != "far" {
		t.Errorf("labels once vCenter tells them again: %v", vm.Labels)
	}
	s.label("team-a/far", "app", "near")
}
