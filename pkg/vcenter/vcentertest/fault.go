// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"maps"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
)

// Fault is a rule by which calls go wrong, or take longer.
type Fault = fault.Rule

// AddFault arms a rule. The first one that matches a call decides.
func (v *VCenter) AddFault(f Fault) { v.faults.Add(f) }

// ClearFaults disarms every rule.
func (v *VCenter) ClearFaults() { v.faults.Clear() }

// Calls is how often each SOAP method was called since the start, whatever came of it, so that a test can prove that
// something was not asked for.
func (v *VCenter) Calls() map[string]int {
	counts := v.journal.Counts()
	maps.DeleteFunc(counts, func(method string, _ int) bool { return strings.Contains(method, " ") })
	return counts
}

// RESTCalls is how often each method of the REST endpoints was called since the start, by its path with "id" for
// identifiers, whatever came of it.
func (v *VCenter) RESTCalls() map[string]int {
	counts := v.journal.Counts()
	maps.DeleteFunc(counts, func(method string, _ int) bool { return !strings.Contains(method, " ") })
	return counts
}

// Record notes the calls from now on, so that a test can have each of them go wrong when the same happens again.
func (v *VCenter) Record() *fault.Recording { return v.journal.Record() }

// handle is how a call is answered by something else than what the simulator has for it.
type handle func(ctx *simulator.Context, method *simulator.Method, call *arrival) (mo.Reference, types.BaseMethodFault)

// before has a registry's calls answered by next, unless a rule refuses them.
func (v *VCenter) before(registry *simulator.Registry, next handle) {
	v.arrivals.pair(registry)
	registry.Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		call := v.arrivals.of(ctx)
		if call.rule != nil && refuses(call.rule.Shape, method.Name) {
			call.then()
			return nil, call.rule.Reason()
		}
		return next(ctx, method, call)
	}
}

// asBefore has a registry's calls answered as they were before.
func asBefore(registry *simulator.Registry) handle {
	own := registry.Handler
	return func(ctx *simulator.Context, method *simulator.Method, _ *arrival) (mo.Reference, types.BaseMethodFault) {
		if own == nil {
			return nil, nil
		}
		return own(ctx, method)
	}
}

// ofTask says whether it is the task of a call that goes wrong in a shape, or takes its time.
func ofTask(shape fault.Shape) bool {
	return shape == fault.TaskFails || shape == fault.TaskFailsHalfway || shape == fault.Slow
}

// refuses says whether a call itself fails by a rule of a shape.
func refuses(shape fault.Shape, method string) bool {
	return shape == fault.Refused || shape != fault.Slow && ofTask(shape) && !hasTask(method)
}

// late is how long the answer of a call is held back by a rule.
func late(rule *fault.Rule, method string) time.Duration {
	if rule == nil || ofTask(rule.Shape) && hasTask(method) {
		return 0
	}
	return rule.Delay
}
