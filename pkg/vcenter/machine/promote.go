// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

// errByThemselves says that no disk stands on another.
var errByThemselves = fmt.Errorf("its disks stand by themselves: %w", failure.Conflict)

// PromoteDisks has those disks of a machine stand by themselves that stand on others. progress is told how far that is, in
// per cent. When ctx ends, it is canceled. Where there is none it is no failure.
func (v *Verbs) PromoteDisks(ctx context.Context, id facts.ID, progress func(percent int32), still Still) error {
	start := func(ctx context.Context, client *vim25.Client) (reference, error) {
		if err := v.decide(ctx, client, id, still); err != nil {
			return reference{}, err
		}
		var vm mo.VirtualMachine
		err := property.DefaultCollector(client).RetrieveOne(ctx, refer(id), []string{PathDevices}, &vm)
		if err != nil {
			return reference{}, err
		}
		request := &types.PromoteDisks_Task{This: refer(id), Unlink: true}
		if vm.Config != nil {
			for _, device := range vm.Config.Hardware.Device {
				if disk, ok := device.(*types.VirtualDisk); ok && len(vcenter.Chain(disk.Backing)) > 1 {
					request.Disks = append(request.Disks, *disk)
				}
			}
		}
		if len(request.Disks) == 0 { // all would be meant
			return reference{}, errByThemselves
		}
		if err := keeps(ctx, client, id); err != nil {
			return reference{}, err
		}
		response, err := methods.PromoteDisks_Task(ctx, client, request)
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	}
	err := v.kept(ctx, id, still, func() error {
		return v.watch(ctx, operation("promote the disks of", id), start, progress)
	})
	if errors.Is(err, errByThemselves) {
		return nil
	}
	return err
}
