// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/admission"
)

// halfway does what vCenter has done of a task when that fails in the middle: files that are left, or a machine that is
// out of the inventory while its files are still there. A task that is not named here leaves nothing.
func halfway(ctx *simulator.Context, call *simulator.Method) {
	switch req := call.Body.(type) {
	case *types.CreateVM_Task:
		if req.Config.Files == nil {
			return
		}
		home, _ := admission.LocalPath(ctx, req.Config.Files.VmPathName)
		if filepath.Ext(home) == ".vmx" {
			home = filepath.Dir(home)
		} else if path.Base(home) != req.Config.Name {
			home = filepath.Join(home, req.Config.Name)
		}
		leave(filepath.Join(home, req.Config.Name+".vmx"))
		leave(filepath.Join(home, req.Config.Name+".nvram"))
	case *types.CopyVirtualDisk_Task:
		if target, ok := admission.LocalPath(ctx, simulator.VirtualDiskBackingFileName(req.DestName)); ok {
			leave(target)
		}
	case *types.ReconfigVM_Task:
		if vm, ok := ctx.Map.Get(call.This).(*simulator.VirtualMachine); ok {
			ctx.WithLock(vm, func() { leaveDisk(ctx, vm, &req.Spec) })
		}
	case *types.Destroy_Task:
		if vm, ok := ctx.Map.Get(call.This).(*simulator.VirtualMachine); ok {
			ctx.WithLock(vm, func() { vm.UnregisterVM(ctx, &types.UnregisterVM{This: vm.Self}) })
		}
	}
}

// leaveDisk leaves the file of the first disk that a change would have made.
func leaveDisk(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec) {
	for _, change := range spec.DeviceChange {
		change := change.GetVirtualDeviceConfigSpec()
		disk, ok := change.Device.(*types.VirtualDisk)
		if !ok || change.FileOperation != types.VirtualDeviceConfigSpecFileOperationCreate {
			continue
		}
		backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo)
		if !ok {
			return
		}
		file, _ := admission.LocalPath(ctx, backing.GetVirtualDeviceFileBackingInfo().FileName)
		if filepath.Ext(file) != ".vmdk" {
			home, _ := admission.LocalPath(ctx, vm.Config.Files.VmPathName)
			for n := 0; ; n++ {
				file = filepath.Join(filepath.Dir(home), fmt.Sprintf("%s_%d.vmdk", vm.Name, n))
				if _, err := os.Stat(file); err != nil {
					break
				}
			}
		}
		leave(simulator.VirtualDiskBackingFileName(file))
		leave(file)
		return
	}
}

// leave makes an empty file, and what it lies in.
func leave(file string) {
	if os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	if f, err := os.OpenFile(file, os.O_CREATE, 0o600); err == nil {
		_ = f.Close()
	}
}

// begins is what a slow task does at once, and how that is undone. A copy of a disk has a part of its target while it
// goes on, and its directory stays.
func (v *VCenter) begins(ctx *simulator.Context, call *simulator.Method) (begin func() types.BaseMethodFault,
	undo func()) {
	req, ok := call.Body.(*types.CopyVirtualDisk_Task)
	if !ok {
		return nil, nil
	}
	source, known := admission.LocalPath(ctx, req.SourceName)
	target, targetKnown := admission.LocalPath(ctx, req.DestName)
	if !known || !targetKnown {
		return nil, nil // which fails at the end
	}
	part, begun := simulator.VirtualDiskBackingFileName(target), false
	begin = func() (fault types.BaseMethodFault) {
		v.gate.enter(func() {
			force := req.Force != nil && *req.Force
			switch {
			case !exists(source):
				fault = &types.FileNotFound{FileFault: types.FileFault{File: req.SourceName}}
			case !exists(filepath.Dir(target)):
				fault = &types.FileNotFound{FileFault: types.FileFault{File: req.DestName}}
			case exists(target) && !force, !v.copies.begin(target):
				fault = &types.FileAlreadyExists{FileFault: types.FileFault{File: req.DestName}}
			default:
				begun = true
				leave(part)
			}
		})
		return fault
	}
	return begin, func() {
		if !begun {
			return
		}
		v.copies.end(target)
		_ = os.MkdirAll(filepath.Dir(part), 0o700) // which a file in use has kept
		_ = os.Remove(part)
	}
}

func exists(file string) bool {
	_, err := os.Stat(strings.TrimSuffix(file, "/"))
	return err == nil
}
