// SPDX-License-Identifier: Apache-2.0

package records

import (
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
)

const (
	mebibyte = 1 << 20
	// unlimited is vCenter's way to say that there is no limit.
	unlimited = -1
)

// Portion is what one pool may take, of CPU in MHz and of memory in MiB.
type Portion struct{ CPU, Memory facts.Allocation }

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
func portionOf(r v1alpha1.NamespaceResources, i, n int) Portion {
	p := Portion{CPU: facts.Allocation{Limit: unlimited}, Memory: facts.Allocation{Limit: unlimited}}
	if r.CPULimitMHz != nil {
		p.CPU.Limit = share(*r.CPULimitMHz, i, n)
	}
	if r.CPUReservationMHz != nil {
		p.CPU.Reservation = share(*r.CPUReservationMHz, i, n)
	}
	if r.MemoryLimit != nil {
		p.Memory.Limit = share(r.MemoryLimit.Value()/mebibyte, i, n)
	}
	if r.MemoryReservation != nil {
		p.Memory.Reservation = share(r.MemoryReservation.Value()/mebibyte, i, n)
	}
	return p
}

// Sum returns what all pools together may take: one pool without a limit, and
// there is none.
func Sum(pools []Portion) v1alpha1.NamespaceResources {
	var r v1alpha1.NamespaceResources
	if len(pools) == 0 {
		return r
	}
	var cpu, memory facts.Allocation
	for _, p := range pools {
		cpu, memory = added(cpu, p.CPU), added(memory, p.Memory)
	}
	if cpu.Limit >= 0 {
		r.CPULimitMHz = &cpu.Limit
	}
	if cpu.Reservation > 0 {
		r.CPUReservationMHz = &cpu.Reservation
	}
	if memory.Limit >= 0 {
		r.MemoryLimit = mebibytes(memory.Limit)
	}
	if memory.Reservation > 0 {
		r.MemoryReservation = mebibytes(memory.Reservation)
	}
	return r
}

// added is what two pools may take together.
func added(a, b facts.Allocation) facts.Allocation {
	sum := facts.Allocation{Limit: a.Limit + b.Limit, Reservation: a.Reservation + b.Reservation}
	if a.Limit < 0 || b.Limit < 0 {
		sum.Limit = unlimited
	}
	return sum
}

func mebibytes(n int64) *resource.Quantity {
	return resource.NewQuantity(n*mebibyte, resource.BinarySI)
}
