// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// transport is how a guest gets its properties: by VMware Tools, as a machine need not have an optical drive.
const transport = "com.vmware.guestInfo"

// newProperties gives a new machine vApp properties, nil for none.
func newProperties(properties []facts.Property) types.BaseVmConfigSpec {
	if len(properties) == 0 {
		return nil
	}
	config := &types.VmConfigSpec{OvfEnvironmentTransport: []string{transport}}
	for number, p := range properties {
		config.Property = append(config.Property, types.VAppPropertySpec{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd},
			Info: &types.VAppPropertyInfo{
				Key: int32(number), ClassId: p.Class, InstanceId: p.Instance, Id: p.Key, Type: p.Type, DefaultValue: p.Default,
				UserConfigurable: types.NewBool(p.UserConfigurable),
			},
		})
	}
	return config
}

// withValues gives properties that a machine has their values.
func withValues(ctx context.Context, client *vim25.Client, id facts.ID,
	values map[string]string) (types.BaseVmConfigSpec, error) {
	var vm mo.VirtualMachine
	err := property.DefaultCollector(client).RetrieveOne(ctx, refer(id), []string{PathProperties}, &vm)
	if err != nil {
		return nil, err
	}
	var has []types.VAppPropertyInfo
	if vm.Config != nil && vm.Config.VAppConfig != nil {
		has = vm.Config.VAppConfig.GetVmConfigInfo().Property
	}
	known := make([]facts.Property, len(has))
	for i, p := range has {
		known[i] = facts.Property{Key: p.Id, Type: p.Type,
			UserConfigurable: p.UserConfigurable != nil && *p.UserConfigurable}
	}
	fitting, err := facts.PropertyValues(known, values)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, failure.Invalid)
	}
	config := &types.VmConfigSpec{OvfEnvironmentTransport: []string{transport}}
	for i, p := range has {
		value, found := fitting[p.Id]
		if !found || !known[i].UserConfigurable {
			continue
		}
		p.Value = value
		config.Property = append(config.Property, types.VAppPropertySpec{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationEdit}, Info: &p,
		})
	}
	return config, nil
}
