// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// LoseDatastore takes the storage of a datastore away: the datastore and every machine whose configuration lies there
// are inaccessible, the machines' configurations are unset, and calls on them fail with InvalidState. It may be called
// before anybody has looked, and twice.
func (v *VCenter) LoseDatastore(name string) error { return v.reach(name, false) }

// FindDatastore undoes LoseDatastore.
func (v *VCenter) FindDatastore(name string) error { return v.reach(name, true) }

// inProcess is a context for what this package does by itself.
func (v *VCenter) inProcess() *simulator.Context {
	return &simulator.Context{Context: context.Background(), Map: v.service.Context.Map}
}

func (v *VCenter) reach(name string, accessible bool) error {
	ctx := v.inProcess()
	found := fmt.Errorf("there is no datastore %q", name)
	v.gate.enter(func() {
		for _, entity := range ctx.Map.All("Datastore") {
			datastore, ok := entity.(*simulator.Datastore)
			if !ok || datastore.Name != name {
				continue
			}
			found = nil
			ctx.WithLock(datastore, func() {
				for i := range datastore.Host {
					datastore.Host[i].MountInfo.Accessible = types.NewBool(accessible)
				}
				ctx.Update(datastore, []types.PropertyChange{
					{Name: "summary.accessible", Val: accessible}, {Name: "host", Val: datastore.Host},
				})
			})
			for _, machine := range ctx.Map.All("VirtualMachine") {
				vm := machine.(*simulator.VirtualMachine)
				ctx.WithLock(vm, func() { v.reachMachine(ctx, vm, name, accessible) })
			}
		}
	})
	return found
}

// reachMachine does to a machine what happened to a datastore, if it lies there. The caller holds the machine's lock.
func (v *VCenter) reachMachine(ctx *simulator.Context, vm *simulator.VirtualMachine, datastore string,
	accessible bool) {
	var home object.DatastorePath
	if !home.FromString(vm.Config.Files.VmPathName) || home.Datastore != datastore {
		return
	}
	state := types.VirtualMachineConnectionStateConnected
	if !accessible {
		state = types.VirtualMachineConnectionStateInaccessible
	}
	v.tracker.Veil(vm.Self, !accessible)
	ctx.Update(vm, []types.PropertyChange{
		{Name: "runtime.connectionState", Val: state}, {Name: "summary.runtime.connectionState", Val: state},
	})
}

// needsFiles says whether a method of a machine is refused while its files cannot be reached. Taking it out of the
// inventory, or to another folder, is not.
func needsFiles(method string) bool {
	switch method {
	case "UnregisterVM", "AnswerVM":
		return false
	case "ShutdownGuest", "StandbyGuest", "RebootGuest", "AcquireTicket", "MarkAsTemplate", "MarkAsVirtualMachine",
		"RefreshStorageInfo":
		return true
	}
	return strings.HasSuffix(method, "_Task")
}

// unreachable is why nothing can be made on a datastore, nil where something can.
func unreachable(ctx *simulator.Context, files *types.VirtualMachineFileInfo) types.BaseMethodFault {
	var home object.DatastorePath
	if files == nil || !home.FromString(files.VmPathName) {
		return nil
	}
	for _, entity := range ctx.Map.All("Datastore") {
		datastore, ok := entity.(*simulator.Datastore)
		if !ok || datastore.Name != home.Datastore {
			continue
		}
		accessible := true
		ctx.WithLock(datastore, func() { accessible = datastore.Summary.Accessible })
		if !accessible {
			return &types.InaccessibleDatastore{InvalidDatastore: types.InvalidDatastore{Datastore: &datastore.Self,
				Name: datastore.Name}}
		}
	}
	return nil
}

// TurnIntoVSAN makes a datastore one whose directories at the top are objects of their own, with other names in paths.
func (v *VCenter) TurnIntoVSAN(name string) {
	ctx := v.inProcess()
	for _, entity := range ctx.Map.All("Datastore") {
		datastore := entity.(*simulator.Datastore)
		ctx.WithLock(datastore, func() {
			if datastore.Name == name {
				datastore.Summary.Type = string(types.HostFileSystemVolumeFileSystemTypeVsan)
				datastore.Capability.TopLevelDirectoryCreateSupported = types.NewBool(false)
			}
		})
	}
}

// fileManager makes no directory at the top of a datastore that has none made there.
type fileManager struct {
	*simulator.FileManager
}

// MakeDirectory fails with CannotCreateFile where a directory is another manager's to make.
func (m *fileManager) MakeDirectory(ctx *simulator.Context, req *types.MakeDirectory) soap.HasFault {
	var at object.DatastorePath
	if at.FromString(req.Name) && !strings.Contains(strings.Trim(at.Path, "/"), "/") {
		for _, entity := range ctx.Map.All("Datastore") {
			datastore := entity.(*simulator.Datastore)
			able := true
			ctx.WithLock(datastore, func() {
				if told := datastore.Capability.TopLevelDirectoryCreateSupported; told != nil && datastore.Name == at.Datastore {
					able = *told
				}
			})
			if !able {
				return &methods.MakeDirectoryBody{Fault_: simulator.Fault("", &types.CannotCreateFile{
					FileFault: types.FileFault{File: req.Name}})}
			}
		}
	}
	return m.FileManager.MakeDirectory(ctx, req)
}
