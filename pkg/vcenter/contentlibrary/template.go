// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/property"
	vapi "github.com/vmware/govmomi/vapi/vcenter"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// Inventory carries out calls with a login at vCenter's SOAP services; vcenter.Session does. Errors of Do come with their
// failure kind.
type Inventory interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
}

// errUnusableTemplate is wrapped by errors that last as long as the contents of an item are the same.
var errUnusableTemplate = errors.New("its template cannot be used")

// template reads the virtual machine template that an item stands for, of which vCenter's library has no more than the
// identifier: what machines of it are like, and where its disks lie. Its files are named by their places and their own names.
func (r *reading) template(ctx context.Context, item string) (*facts.Image, map[string]facts.ItemFile, error) {
	var info *vapi.TemplateInfo
	err := r.call(ctx, func(ctx context.Context) (err error) {
		info, err = vapi.NewManager(r.manager.Client).GetLibraryTemplateInfo(ctx, item)
		return err
	})
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("ask which template it stands for: %w", err)
	case info.VmTemplate == "":
		return nil, nil, fmt.Errorf("vCenter does not say which template it stands for: %w", failure.Unavailable)
	}
	var vm mo.VirtualMachine
	var stores []mo.Datastore
	ref := types.ManagedObjectReference{Type: facts.TypeMachine, Value: info.VmTemplate}
	err = r.call(ctx, func(ctx context.Context) error {
		return r.inventory.Do(ctx, "read the template "+ref.Value, func(ctx context.Context, client *vim25.Client) error {
			all := property.DefaultCollector(client)
			paths := []string{"config.template", "config.guestId", "config.firmware", "config.version", "config.extraConfig",
				"config.vAppConfig", "config.hardware.device", "layoutEx", "datastore"}
			if err := all.RetrieveOne(ctx, ref, paths, &vm); err != nil || len(vm.Datastore) == 0 {
				return err
			}
			return all.Retrieve(ctx, vm.Datastore, []string{"name", "summary.url"}, &stores)
		})
	})
	switch {
	case err != nil:
		return nil, nil, err
	case vm.Config == nil || len(vm.Config.Hardware.Device) == 0:
		return nil, nil, fmt.Errorf("vCenter does not tell the configuration of the template %s: %w", ref.Value,
			failure.Unavailable)
	}
	if !vm.Config.Template {
		// Whoever changes it turns it into a machine, and back: in between its disks are not to be copied.
		return nil, nil, fmt.Errorf("its template %s is a virtual machine now: turn it into a template again in vCenter: %w",
			ref.Value, failure.Unavailable)
	}
	image, files, err := templateOf(&vm, stores, r.keeps)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errUnusableTemplate, err)
	}
	return image, files, nil
}

// templateOf is what a template says of the machines that are made of it, and what they get copies of.
func templateOf(vm *mo.VirtualMachine, stores []mo.Datastore,
	keeps func(key string) bool) (*facts.Image, map[string]facts.ItemFile, error) {
	if keeps == nil {
		keeps = func(string) bool { return true }
	}
	image := &facts.Image{
		GuestID: vm.Config.GuestId, OS: int(ovf.GuestIDToCIMOSType(vm.Config.GuestId)), Firmware: vm.Config.Firmware,
	}
	if version, err := types.ParseHardwareVersion(vm.Config.Version); err == nil {
		image.HardwareVersion = int32(version)
	}
	describeOptions(image, vm.Config.ExtraConfig, keeps)
	if vm.Config.VAppConfig != nil {
		describeTemplateVApp(image, vm.Config.VAppConfig.GetVmConfigInfo(), keeps)
	}
	var devices []types.BaseVirtualDeviceConfigSpec
	var disks []*types.VirtualDisk
	for _, device := range vm.Config.Hardware.Device {
		devices = append(devices, &types.VirtualDeviceConfigSpec{Device: device})
		if disk, ok := device.(*types.VirtualDisk); ok {
			disks = append(disks, disk)
		}
	}
	image.Disks = disksOf(devices)
	if len(disks) == 0 {
		return nil, nil, errors.New("it has no disk")
	}
	files := make(map[string]facts.ItemFile, len(disks))
	for i, disk := range disks {
		if image.Disks[i].Capacity == 0 {
			image.Disks[i].Capacity = disk.CapacityInKB << 10
		}
		url, err := placeOf(disk, stores)
		if err != nil {
			return nil, nil, fmt.Errorf("its disk %q: %w", image.Disks[i].Label, err)
		}
		// Two disks may be called the same, on two datastores.
		name := fmt.Sprintf("%d-%s", i, path.Base(url))
		image.Disks[i].File, files[name] = name, facts.ItemFile{URL: url, Size: sizeOf(vm.LayoutEx, disk.Key)}
	}
	return image, files, nil
}

func describeOptions(image *facts.Image, options []types.BaseOptionValue, keeps func(key string) bool) {
	for _, option := range options {
		value := option.GetOptionValue()
		if value == nil || !keeps(value.Key) {
			continue
		}
		if text, ok := value.Value.(string); ok {
			if image.Extra == nil {
				image.Extra = map[string]string{}
			}
			image.Extra[value.Key] = text
		}
	}
}

// describeTemplateVApp is describeVApp for what a machine has.
func describeTemplateVApp(image *facts.Image, has *types.VmConfigInfo, keeps func(key string) bool) {
	spec := &types.VmConfigSpec{}
	for i := range has.Product {
		spec.Product = append(spec.Product, types.VAppProductSpec{Info: &has.Product[i]})
	}
	for i := range has.Property {
		spec.Property = append(spec.Property, types.VAppPropertySpec{Info: &has.Property[i]})
	}
	describeVApp(image, spec, keeps)
}

// placeOf is where the file of a disk lies, by the URL of its datastore, which stays when that is renamed.
func placeOf(disk *types.VirtualDisk, stores []mo.Datastore) (url string, err error) {
	encrypted := false
	switch backing := disk.Backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		encrypted = backing.KeyId != nil
	case *types.VirtualDiskSeSparseBackingInfo:
		encrypted = backing.KeyId != nil
	case *types.VirtualDiskSparseVer2BackingInfo:
		encrypted = backing.KeyId != nil
	default:
		return "", errors.New("it is of a kind of which machines cannot have copies")
	}
	if encrypted {
		return "", errors.New("it is encrypted, and machines of it would not be")
	}
	var at object.DatastorePath
	file := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo).GetVirtualDeviceFileBackingInfo().FileName
	known := -1
	if at.FromString(file) {
		known = slices.IndexFunc(stores, func(store mo.Datastore) bool { return store.Name == at.Datastore })
	}
	if known < 0 {
		return "", fmt.Errorf("vCenter does not tell which datastore its file %s lies on", file)
	}
	return strings.TrimSuffix(stores[known].Summary.Url, "/") + "/" + at.Path, nil
}

// sizeOf is how many bytes the files of a disk take, with those that it stands on.
func sizeOf(layout *types.VirtualMachineFileLayoutEx, disk int32) (size int64) {
	if layout == nil {
		return 0
	}
	for _, has := range layout.Disk {
		if has.Key != disk {
			continue
		}
		for _, unit := range has.Chain {
			for _, file := range layout.File {
				if slices.Contains(unit.FileKey, file.Key) {
					size += file.Size
				}
			}
		}
	}
	return size
}
