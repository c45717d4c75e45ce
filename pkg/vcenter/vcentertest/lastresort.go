// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"fmt"
	"runtime/debug"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// lastResort has a task that panics end with a fault. The simulator's tasks run in goroutines of their own, so that the
// process would end else, with all that the vCenter holds. What admission looks at does not come this far.
type lastResort struct{}

// Reference makes it a handler of the registry's.
func (lastResort) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Handler", Value: "vcentertest-last-resort"}
}

// PutObject sees each task before that runs.
func (lastResort) PutObject(_ *simulator.Context, o mo.Reference) {
	task, ok := o.(*simulator.Task)
	if !ok || task.Execute == nil {
		return
	}
	execute := task.Execute
	task.Execute = func(task *simulator.Task) (result types.AnyType, fault types.BaseMethodFault) {
		defer func() {
			if p := recover(); p != nil {
				result, fault = nil, &types.SystemError{Reason: fmt.Sprintf("%v\n%s", p, debug.Stack())}
			}
		}()
		return execute(task)
	}
}

// UpdateObject does nothing.
func (lastResort) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

// RemoveObject does nothing.
func (lastResort) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}
