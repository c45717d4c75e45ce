// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

// keepDisksKey is the key of ExtraConfig that names the disks which vCenter leaves when it destroys a machine, or when
// it takes its disks off what they stand on. Without it vCenter takes those with it, whoever else stands on them. Whoever
// may edit a machine's advanced parameters can take it away, and so it is looked at directly before such an act.
const keepDisksKey = "vmprov.keepDisks"

// errUnkept says that vCenter would take with a machine what its disks stand on.
var errUnkept = fmt.Errorf("its option %s does not name all that its disks stand on: %w", keepDisksKey, failure.Conflict)

// kept acts, where vCenter leaves what the machine's disks stand on: act asks keeps directly before, and where that says
// no the machine is told to leave it.
func (v *Verbs) kept(ctx context.Context, id facts.ID, still Still, act func() error) error {
	err := act()
	if !errors.Is(err, errUnkept) {
		return err
	}
	err = v.reconfigure(ctx, "keep what the disks stand on of", id, func(ctx context.Context, client *vim25.Client,
		now reading) (spec types.VirtualMachineConfigSpec, err error) {
		if err := still(now.Machine); err != nil {
			return spec, err
		}
		names, missing, err := others(ctx, client, id)
		if err == nil && !missing {
			err = errAsWanted
		}
		spec.ExtraConfig = options(map[string]string{keepDisksKey: strings.Join(names, ",")})
		return spec, err
	})
	if err != nil {
		return err
	}
	return act()
}

// keeps is errUnkept where vCenter would take what a machine's disks stand on.
func keeps(ctx context.Context, client *vim25.Client, id facts.ID) error {
	if _, missing, err := others(ctx, client, id); err != nil || !missing {
		return err
	}
	return errUnkept
}

// others are the names of the disks that a machine keeps, with all that its own stand on and that are not its: what lies
// beside a disk, or in the machine's folder, is what it was before a snapshot. missing says that it does not keep all.
func others(ctx context.Context, client *vim25.Client, id facts.ID) (names []string, missing bool, err error) {
	var vm mo.VirtualMachine
	err = property.DefaultCollector(client).RetrieveOne(ctx, refer(id), []string{PathDevices, PathFile, "config.extraConfig"}, &vm)
	if err != nil || vm.Config == nil {
		return nil, false, err
	}
	for _, option := range vm.Config.ExtraConfig {
		if value := option.GetOptionValue(); value.Key == keepDisksKey {
			names = slices.DeleteFunc(strings.Split(text(value.Value), ","), func(name string) bool { return name == "" })
		}
	}
	home := Home(vm.Config.Files.VmPathName)
	for _, device := range vm.Config.Hardware.Device {
		disk, ok := device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		chain := vcenter.Chain(disk.Backing)
		for i, file := range chain {
			at, name := Home(file), path.Base(file)
			if i > 0 && at != home && at != Home(chain[0]) && !slices.Contains(names, name) {
				names, missing = append(names, name), true
			}
		}
	}
	return names, missing, nil
}
