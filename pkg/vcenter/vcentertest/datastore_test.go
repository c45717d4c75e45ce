// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// onTwo is Small with one machine, "far", on a datastore of its own.
func onTwo(ctx context.Context, b *Builder) error {
	return b.steps(ctx,
		func() error { return Small(ctx, b) },
		func() error { return b.Datastore(ctx, "datastore-2") },
		func() error {
			_, err := b.VirtualMachine(ctx, VM{Name: "far", Folder: "Namespaces/team-a", Cluster: "cluster-a",
				Datastore: "datastore-2",
				GuestID:   "ubuntu64Guest", CPUs: 2, MemoryMB: 1024, Power: types.VirtualMachinePowerStatePoweredOn,
				ExtraConfig: map[string]string{"mine": "kept"}})
			return err
		},
	)
}

func TestLoseDatastore(t *testing.T) {
	v := Run(t, Options{Inventory: onTwo})
	ctx := context.Background()
	i := inventoryOf(t, v)
	far := i.vm("far")
	paths := []string{"name", "runtime.connectionState", "config", "config.instanceUuid", `config.extraConfig["mine"]`,
		"summary.config.instanceUuid"}
	id := i.read(far).Config.InstanceUuid
	follow := func() *stream {
		return newStream(t, v, i.folder(namespaces+"/team-a").Reference(), "VirtualMachine", paths...)
	}
	i.do(i.vm("web-1").PowerOff(ctx))
	s := follow()
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}

	if err := v.LoseDatastore("datastore-2"); err != nil {
		t.Fatal(err)
	}
	want := []string{"modify VirtualMachine runtime.connectionState=inaccessible config=<nil> " +
		`config.extraConfig["mine"]=<nil> config.instanceUuid=<nil> summary.config.instanceUuid=<nil>`}
	if diff := cmp.Diff(want, s.until("inaccessible")); diff != "" {
		t.Errorf("told of the loss (-want +got):\n%s", diff)
	}
	// Whoever comes later sees the same, and no fault in its place.
	set, err := follow().wait(0)
	if err != nil {
		t.Fatal(err)
	}
	lines := describe(set)
	at := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "name=far") })
	if at < 0 || lines[at] != "enter VirtualMachine name=far runtime.connectionState=inaccessible" ||
		len(set.FilterSet[0].ObjectSet[at].MissingSet) > 0 {
		t.Errorf("at the start: %q", lines)
	}
	lost := i.read(far)
	if lost.Config != nil || lost.Summary.Config.InstanceUuid != "" || lost.Summary.Config.Name != "far" ||
		lost.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		t.Errorf("read: config %v, summary %+v, %s", lost.Config, lost.Summary.Config, lost.Runtime.PowerState)
	}
	for name, act := range map[string]func() (*object.Task, error){
		"power off": func() (*object.Task, error) { return far.PowerOff(ctx) },
		"destroy":   func() (*object.Task, error) { return far.Destroy(ctx) },
		"reconfigure": func() (*object.Task, error) {
			return far.Reconfigure(ctx,
				types.VirtualMachineConfigSpec{NumCPUs: 4})
		},
		"folder": func() (*object.Task, error) { return i.folder(namespaces + "/team-a").Destroy(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := i.try(act())
			refused[*types.InvalidState](t, err)
		})
	}
	_, err = i.try(i.folder(namespaces+"/team-b").CreateVM(ctx, types.VirtualMachineConfigSpec{
		Name: "refused", Files: &types.VirtualMachineFileInfo{VmPathName: "[datastore-2]"},
	}, i.pool(), nil))
	refused[*types.InaccessibleDatastore](t, err)
	i.do(i.folder(namespaces+"/team-b").MoveInto(ctx, []types.ManagedObjectReference{far.Reference()}))
	i.do(i.folder(namespaces+"/team-a").MoveInto(ctx, []types.ManagedObjectReference{far.Reference()}))
	if near := i.read(i.vm("web-1")); near.Config == nil ||
		near.Runtime.ConnectionState != types.VirtualMachineConnectionStateConnected {
		t.Errorf("a machine on another datastore: %s, %v", near.Runtime.ConnectionState, near.Config)
	}

	if err := v.FindDatastore("datastore-2"); err != nil {
		t.Fatal(err)
	}
	found := i.read(far)
	if found.Config == nil || found.Config.InstanceUuid != id || option(found, "mine") != "kept" ||
		found.Runtime.ConnectionState != types.VirtualMachineConnectionStateConnected {
		t.Errorf("found again: %s, %+v", found.Runtime.ConnectionState, found.Config)
	}
	i.do(far.PowerOff(ctx))
	if err := v.LoseDatastore("datastore-3"); err == nil {
		t.Error("a datastore is lost that is not there")
	}
}
