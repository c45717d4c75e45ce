// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// TestParallelStarts is about the race detector too: what one simulated vCenter is made of is its own, or guarded.
func TestParallelStarts(t *testing.T) {
	t.Parallel()
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			for range 3 {
				v, err := Start(Options{Inventory: func(ctx context.Context, b *Builder) error {
					if err := b.Datacenter(ctx, "DC0"); err != nil {
						return err
					}
					return b.Cluster(ctx, "cluster-a", "host-1", "host-2", "host-3", "host-4")
				}})
				if err != nil {
					t.Error(err)
					return
				}
				v.Close()
			}
		})
	}
	starting.Wait()
}

// TestParallelFaults: as many calls fail as a rule says, however many come at once.
func TestParallelFaults(t *testing.T) {
	t.Parallel()
	v := Run(t, Options{Inventory: func(context.Context, *Builder) error { return nil }})
	v.AddFault(Fault{Method: "CurrentTime", Skip: 2, Count: 5})
	var calling sync.WaitGroup
	var failed atomic.Int32
	for range 4 {
		client, err := v.Client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		calling.Go(func() {
			for range 10 {
				if _, err := methods.GetCurrentTime(t.Context(), client); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	calling.Wait()
	if failed.Load() != 5 {
		t.Errorf("%d calls failed, want 5", failed.Load())
	}
}

// TestParallelWork is about the race detector: clients of their own work on machines of their own, all of which lie on
// one datastore, run on one host and in one pool, while others read and rearrange what is around them.
func TestParallelWork(t *testing.T) {
	t.Parallel()
	v := Run(t, Options{})
	var working, reading sync.WaitGroup
	stop := make(chan struct{})
	for n := range 4 {
		working.Go(func() {
			if err := work(t, v, n); err != nil {
				t.Errorf("client %d: %v", n, err)
			}
		})
	}
	for range 2 {
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := readEverything(t, v); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	working.Wait()
	close(stop)
	reading.Wait()
}

// work makes a machine, does all sorts of things to it, and destroys it.
func work(t *testing.T, v *VCenter, n int) error {
	ctx := context.Background()
	i := inventoryOf(t, v)
	teamA, teamB, pool := i.folder(namespaces+"/team-a"), i.folder(namespaces+"/team-b"), i.pool()
	datacenter, err := i.finder.Datacenter(ctx, "DC0")
	if err != nil {
		return err
	}
	datastore, err := i.finder.Datastore(ctx, "datastore-1")
	if err != nil {
		return err
	}
	own, err := teamB.CreateFolder(ctx, fmt.Sprintf("own-%d", n))
	if err != nil {
		return err
	}
	spec := types.VirtualMachineConfigSpec{Name: fmt.Sprintf("worked-%d", n),
		Files: &types.VirtualMachineFileInfo{VmPathName: "[datastore-1]"}}
	info, err := i.try(teamA.CreateVM(ctx, spec, pool, nil))
	if err != nil {
		return err
	}
	vm := i.made(info)
	directory := fmt.Sprintf("[datastore-1] directory-%d", n)
	files := object.NewFileManager(i.client.Client)
	disk := types.VirtualDisk{CapacityInKB: 1 << 20, VirtualDevice: types.VirtualDevice{Key: -1, ControllerKey: -2,
		UnitNumber: types.NewInt32(0),
		Backing: &types.VirtualDiskFlatVer2BackingInfo{DiskMode: "persistent", ThinProvisioned: types.NewBool(true),
			VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[datastore-1]"}}}}
	controller := types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
		SharedBus:         "noSharing",
		VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: -2}}}}
	for _, task := range []func() (*object.Task, error){
		func() (*object.Task, error) {
			return vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
				&types.VirtualDeviceConfigSpec{Operation: "add", Device: &controller},
				&types.VirtualDeviceConfigSpec{Operation: "add", FileOperation: "create", Device: &disk},
			}})
		},
		func() (*object.Task, error) { return vm.CreateSnapshot(ctx, "before", "", false, false) },
		func() (*object.Task, error) { return vm.PowerOn(ctx) },
		func() (*object.Task, error) { return own.MoveInto(ctx, []types.ManagedObjectReference{vm.Reference()}) },
		func() (*object.Task, error) { return vm.Rename(ctx, fmt.Sprintf("renamed-%d", n)) },
		func() (*object.Task, error) { return own.Rename(ctx, fmt.Sprintf("own-renamed-%d", n)) },
		func() (*object.Task, error) {
			return teamA.MoveInto(ctx, []types.ManagedObjectReference{own.Reference()})
		},
		func() (*object.Task, error) { return vm.PowerOff(ctx) },
		func() (*object.Task, error) {
			return vm.Clone(ctx, teamB, fmt.Sprintf("clone-%d", n), types.VirtualMachineCloneSpec{})
		},
		func() (*object.Task, error) { return vm.RevertToSnapshot(ctx, "before", true) },
		func() (*object.Task, error) { return vm.RemoveSnapshot(ctx, "before", true, nil) },
		func() (*object.Task, error) {
			return nil, errors.Join(files.MakeDirectory(ctx, directory, datacenter, true), vm.RefreshStorageInfo(ctx),
				pool.UpdateConfig(ctx, "", &types.ResourceConfigSpec{}))
		},
		func() (*object.Task, error) { return files.DeleteDatastoreFile(ctx, directory, datacenter) },
		func() (*object.Task, error) {
			browser, err := datastore.Browser(ctx)
			if err != nil {
				return nil, err
			}
			return browser.SearchDatastore(ctx, "[datastore-1]",
				&types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*"}})
		},
		func() (*object.Task, error) { return vm.Destroy(ctx) },
		func() (*object.Task, error) { return own.Destroy(ctx) },
	} {
		started, err := task()
		if err == nil && started != nil {
			err = started.WaitEx(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readEverything reads all that the work changes, and the chain of folders above each object.
func readEverything(t *testing.T, v *VCenter) error {
	ctx := context.Background()
	client := login(t, v)
	defer func() { _ = client.Logout(ctx) }()
	parents := &types.TraversalSpec{SelectionSpec: types.SelectionSpec{Name: "up"}, Type: "ManagedEntity", Path: "parent",
		SelectSet: []types.BaseSelectionSpec{&types.SelectionSpec{Name: "up"}}}
	members := &types.TraversalSpec{Type: "ContainerView", Path: "view", SelectSet: []types.BaseSelectionSpec{parents}}
	for _, kind := range []string{"VirtualMachine", "Datastore", "Folder", "ResourcePool", "HostSystem",
		"ClusterComputeResource"} {
		all, err := view.NewManager(client.Client).CreateContainerView(ctx, client.ServiceContent.RootFolder, []string{kind},
			true)
		if err != nil {
			return err
		}
		spec := types.PropertyFilterSpec{
			PropSet: []types.PropertySpec{{Type: kind, All: types.NewBool(true)},
				{Type: "Folder", PathSet: []string{"name", "parent"}}},
			ObjectSet: []types.ObjectSpec{{Obj: all.Reference(), Skip: types.NewBool(true),
				SelectSet: []types.BaseSelectionSpec{members}}},
		}
		answer, err := methods.RetrievePropertiesEx(ctx, client.Client, &types.RetrievePropertiesEx{
			This: client.ServiceContent.PropertyCollector, SpecSet: []types.PropertyFilterSpec{spec},
		})
		if err != nil {
			return err
		}
		if len(answer.Returnval.Objects) == 0 {
			return fmt.Errorf("nothing of the kind %s is there", kind)
		}
	}
	return nil
}
