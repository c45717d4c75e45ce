// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

const (
	mebibyte = 1 << 20
	// unlimited is vCenter's way to say that there is no limit.
	unlimited = -1
	// cpuStep and byteStep are what usage is rounded to.
	cpuStep  = 10
	byteStep = 64 * mebibyte
)

// allocation is what a pool may take and what is kept for it: MHz or MiB.
type allocation struct{ limit, reservation int64 }

// portion is what one pool may take.
type portion struct{ cpu, memory allocation }

// share is what zone i of n gets: even parts, and what does not divide goes to
// the first ones, so that the parts add up.
func share(total int64, i, n int) int64 {
	part := total / int64(n)
	if int64(i) < total%int64(n) {
		part++
	}
	return part
}

// portionOf returns what the pool of zone i of n is to have.
func portionOf(r v1alpha1.NamespaceResources, i, n int) portion {
	p := portion{cpu: allocation{limit: unlimited}, memory: allocation{limit: unlimited}}
	if r.CPULimitMHz != nil {
		p.cpu.limit = share(*r.CPULimitMHz, i, n)
	}
	if r.CPUReservationMHz != nil {
		p.cpu.reservation = share(*r.CPUReservationMHz, i, n)
	}
	if r.MemoryLimit != nil {
		p.memory.limit = share(r.MemoryLimit.Value()/mebibyte, i, n)
	}
	if r.MemoryReservation != nil {
		p.memory.reservation = share(r.MemoryReservation.Value()/mebibyte, i, n)
	}
	return p
}

// sum returns what all pools together may take: one pool without a limit, and
// there is none.
func sum(pools []*pool) v1alpha1.NamespaceResources {
	var r v1alpha1.NamespaceResources
	if len(pools) == 0 {
		return r
	}
	var cpu, memory allocation
	for _, p := range pools {
		cpu.add(p.has.cpu)
		memory.add(p.has.memory)
	}
	if cpu.limit >= 0 {
		r.CPULimitMHz = &cpu.limit
	}
	if cpu.reservation > 0 {
		r.CPUReservationMHz = &cpu.reservation
	}
	if memory.limit >= 0 {
		r.MemoryLimit = mebibytes(memory.limit)
	}
	if memory.reservation > 0 {
		r.MemoryReservation = mebibytes(memory.reservation)
	}
	return r
}

func (a *allocation) add(b allocation) {
	a.reservation += b.reservation
	if a.limit < 0 || b.limit < 0 {
		a.limit = unlimited
		return
	}
	a.limit += b.limit
}

func (a allocation) spec() types.ResourceAllocationInfo {
	return types.ResourceAllocationInfo{Limit: &a.limit, Reservation: &a.reservation}
}

// newSpec is the spec of a pool that is made.
func (p portion) newSpec() types.ResourceConfigSpec {
	spec := types.ResourceConfigSpec{CpuAllocation: p.cpu.spec(), MemoryAllocation: p.memory.spec()}
	for _, allocation := range []*types.ResourceAllocationInfo{&spec.CpuAllocation, &spec.MemoryAllocation} {
		expandable := true
		allocation.ExpandableReservation = &expandable
		allocation.Shares = &types.SharesInfo{Level: types.SharesLevelNormal}
	}
	return spec
}

func mebibytes(n int64) *resource.Quantity {
	return resource.NewQuantity(n*mebibyte, resource.BinarySI)
}

func roundUp(n, step int64) int64 { return (n + step - 1) / step * step }
