// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/collector"
)

// cluster has no resource pools but its own when DRS is off.
type cluster struct {
	*simulator.ClusterComputeResource
}

// ReconfigureComputeResourceTask tells of the change. Turning DRS off takes the resource pools away, and the machines
// in them move to the cluster's own.
func (c *cluster) ReconfigureComputeResourceTask(ctx *simulator.Context,
	req *types.ReconfigureComputeResource_Task) soap.HasFault {
	task := simulator.CreateTask(c.ClusterComputeResource, "reconfigureCluster",
		func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
			inner := c.ClusterComputeResource.ReconfigureComputeResourceTask(ctx,
				req).(*methods.ReconfigureComputeResource_TaskBody)
			if fault := result(ctx, inner.Res.Returnval); fault != nil {
				return nil, fault
			}
			if !balances(c.ClusterComputeResource) {
				if fault := c.dropPools(ctx); fault != nil {
					return nil, fault
				}
			}
			configuration := c.Configuration // which the simulator leaves empty
			configuration.DrsConfig.Enabled = types.NewBool(balances(c.ClusterComputeResource))
			ctx.Update(c.ClusterComputeResource, []types.PropertyChange{
				{Name: "configurationEx", Val: c.ConfigurationEx}, {Name: "configuration", Val: configuration},
			})
			return nil, nil
		})
	return &methods.ReconfigureComputeResource_TaskBody{Res: &types.ReconfigureComputeResource_TaskResponse{
		Returnval: start(ctx, c.ClusterComputeResource, task),
	}}
}

// dropPools destroys what is in the cluster's own pool. What was in that moves up, and is next.
func (c *cluster) dropPools(ctx *simulator.Context) types.BaseMethodFault {
	for {
		dropped := false
		for _, ref := range collector.Children(ctx, *c.ResourcePool) {
			pool, ok := ctx.Map.Get(ref).(*simulator.ResourcePool)
			if !ok {
				continue
			}
			dropped = true
			if fault := destroy(ctx, pool); fault != nil {
				return fault
			}
		}
		if !dropped {
			return nil
		}
	}
}

// balances says whether DRS is on. The caller holds the cluster's lock.
func balances(c *simulator.ClusterComputeResource) bool {
	config, ok := c.ConfigurationEx.(*types.ClusterConfigInfoEx)
	return !ok || config.DrsConfig.Enabled == nil || *config.DrsConfig.Enabled
}

// DRS turns the load balancing of a cluster on or off.
func (b *Builder) DRS(ctx context.Context, cluster string, on bool) error {
	found, err := b.finder.ClusterComputeResource(ctx, cluster)
	if err != nil {
		return fmt.Errorf("find cluster %q: %w", cluster, err)
	}
	spec := &types.ClusterConfigSpecEx{DrsConfig: &types.ClusterDrsConfigInfo{Enabled: types.NewBool(on)}}
	task, err := found.Reconfigure(ctx, spec, true)
	if err == nil {
		err = task.WaitEx(ctx)
	}
	if err != nil {
		return fmt.Errorf("reconfigure cluster %q: %w", cluster, err)
	}
	return nil
}
