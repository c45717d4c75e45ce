// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/collector"
)

// resourcePool tells of its changes.
type resourcePool struct {
	*simulator.ResourcePool
	tracker *collector.Tracker
}

// UpdateConfig changes the pool and says so.
func (p *resourcePool) UpdateConfig(ctx *simulator.Context, req *types.UpdateConfig) soap.HasFault {
	body := p.ResourcePool.UpdateConfig(ctx, req)
	if body.Fault() == nil {
		ctx.Update(p.ResourcePool, []types.PropertyChange{
			{Name: "name", Val: p.Name},
			{Name: "config", Val: p.Config},
		})
	}
	return body
}

// CreateResourcePool gives the pool a summary of its own: the simulator's pools
// share one, with every simulator of the process.
func (p *resourcePool) CreateResourcePool(ctx *simulator.Context, req *types.CreateResourcePool) soap.HasFault {
	body := new(methods.CreateResourcePoolBody)
	if owner, ok := ctx.Map.Get(p.Owner).(*simulator.ClusterComputeResource); ok {
		on := true
		ctx.WithLock(owner, func() { on = balances(owner) })
		if !on {
			body.Fault_ = simulator.Fault("The operation is not supported on the object.", new(types.NotSupported))
			return body
		}
	}
	if other, ok := p.tracker.ChildNamed(p.Self, req.Name, types.ManagedObjectReference{}); ok {
		body.Fault_ = simulator.Fault("", &types.DuplicateName{Name: req.Name, Object: other})
		return body
	}
	for _, allocation := range []struct {
		name string
		info types.ResourceAllocationInfo
	}{{"spec.cpuAllocation", req.Spec.CpuAllocation}, {"spec.memoryAllocation", req.Spec.MemoryAllocation}} {
		info := allocation.info
		if info.Reservation == nil || *info.Reservation < 0 || info.Limit == nil || *info.Limit < -1 ||
			info.ExpandableReservation == nil || info.Shares == nil {
			body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: allocation.name})
			return body
		}
	}
	child := simulator.NewResourcePool(ctx)
	child.Name, child.Owner = req.Name, p.Owner
	child.Summary = &types.ResourcePoolSummary{Name: req.Name, Config: req.Spec}
	child.Config.CpuAllocation, child.Config.MemoryAllocation, child.Config.Entity = req.Spec.CpuAllocation,
		req.Spec.MemoryAllocation, req.Spec.Entity
	ctx.Map.PutEntity(p.ResourcePool, ctx.Map.NewEntity(child))
	p.ResourcePool.ResourcePool.ResourcePool = append(p.ResourcePool.ResourcePool.ResourcePool, child.Reference())
	body.Res = &types.CreateResourcePoolResponse{Returnval: child.Reference()}
	return body
}
