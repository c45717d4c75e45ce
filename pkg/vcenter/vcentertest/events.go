// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// tellLastEvent has the event manager know its last event, for a reading that asks it. The simulator never tells that.
func tellLastEvent(ctx *simulator.Context, body types.AnyType) {
	reading, ok := body.(*types.RetrievePropertiesEx)
	manager := ctx.Map.EventManager()
	if !ok || manager == nil || !slices.ContainsFunc(reading.SpecSet, func(spec types.PropertyFilterSpec) bool {
		return slices.ContainsFunc(spec.ObjectSet, func(o types.ObjectSpec) bool { return o.Obj == manager.Self })
	}) {
		return
	}
	ctx.WithLock(manager, func() {
		answer, ok := manager.QueryEvents(ctx, &types.QueryEvents{}).(*methods.QueryEventsBody)
		if !ok || answer.Res == nil {
			return
		}
		for _, event := range answer.Res.Returnval {
			if last := manager.LatestEvent; last == nil || event.GetEvent().Key > last.GetEvent().Key {
				manager.LatestEvent = event
			}
		}
	})
}
