// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Fault is a rule by which calls fail, or take longer.
type Fault struct {
	// Method is the SOAP name, such as PowerOffVM_Task; "*" is every method.
	Method string
	// Object restricts the rule to the entity of that name.
	Object string
	// Fault is what the caller gets; nil is a SystemError.
	Fault types.BaseMethodFault
	// Skip lets so many calls pass first; Count fails only so many, 0 all.
	Skip, Count int
	// Delay holds the fault back.
	Delay time.Duration
}

// AddFault arms a rule. The first one that matches a call decides.
func (v *VCenter) AddFault(f Fault) { v.faults.add(f) }

// ClearFaults disarms every rule.
func (v *VCenter) ClearFaults() { v.faults.clear() }

// faults are the rules. The simulator has its own, and counts in them while it holds a lock for reading.
type faults struct {
	mu    sync.Mutex
	rules []*rule
}

type rule struct {
	Fault
	matched int
}

func (f *faults) add(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{Fault: fault})
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// before has a registry's handler asked only for calls that no rule fails.
func (f *faults) before(registry *simulator.Registry) {
	next := registry.Handler
	registry.Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		if fault := f.of(ctx, method); fault != nil {
			return nil, fault
		}
		if next == nil {
			return nil, nil
		}
		return next(ctx, method)
	}
}

// of returns the fault of a call, nil for none, once its time has come.
func (f *faults) of(ctx *simulator.Context, method *simulator.Method) types.BaseMethodFault {
	object := ""
	if entity, ok := ctx.Map.Get(method.This).(mo.Entity); ok && f.namesObjects(method.Name) {
		ctx.WithLock(entity, func() { object = entity.Entity().Name })
	}
	found := f.match(method.Name, object)
	switch {
	case found == nil:
		return nil
	case found.Delay > 0:
		time.Sleep(found.Delay)
	}
	if found.Fault.Fault == nil {
		return &types.SystemError{Reason: "the test wants it"}
	}
	return found.Fault.Fault
}

// namesObjects says whether it matters of what object a method is called.
func (f *faults) namesObjects(method string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.rules, func(r *rule) bool { return r.Object != "" && r.about(method) })
}

func (r *rule) about(method string) bool { return r.Method == "*" || r.Method == method }

func (f *faults) match(method, object string) *rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if !r.about(method) || r.Object != "" && r.Object != object {
			continue
		}
		r.matched++
		if r.matched > r.Skip && (r.Count == 0 || r.matched <= r.Skip+r.Count) {
			return r
		}
	}
	return nil
}
