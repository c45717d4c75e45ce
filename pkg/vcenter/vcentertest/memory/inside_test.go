// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"testing"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/vpx"
	"github.com/vmware/govmomi/vim25/types"
)

// TestInside: govmomi has all that is reached into, of the types that are counted on; what is not there panics.
func TestInside(t *testing.T) {
	ctx, _ := simulator.NewServiceInstance(simulator.NewContext(), vpx.ServiceContent, vpx.RootFolder)
	before := counter(ctx.Map)
	made := ctx.Map.Put(new(simulator.Folder))
	if got := counter(ctx.Map); got != before+1 {
		t.Errorf("the counter is %d after %d and one object, %s", got, before, made.Reference().Value)
	}
	setCounter(ctx.Map, 4711)
	if got := ctx.Map.Put(new(simulator.Folder)).Reference().Value; got != "group-4712" {
		t.Errorf("the next identifier is %q", got)
	}
	events := ctx.Map.EventManager()
	page, key := history(events)
	events.PostEvent(ctx, &types.PostEvent{EventToPost: &types.GeneralEvent{Message: "hello"}})
	if page.Len() != 1 || *key != 1 {
		t.Errorf("there are %d events, the last is %d", page.Len(), *key)
	}
	roles := ctx.Map.Get(*ctx.Map.Get(types.ManagedObjectReference{Type: "ServiceInstance",
		Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content.AuthorizationManager).(*simulator.AuthorizationManager)
	if permissions(roles) == nil {
		t.Error("there are no permissions")
	}
	for kind, begin := range kinds {
		object := any(roles)
		switch {
		case begin != nil:
			object = begin()
		case kind == "CustomFieldsManager":
			object = ctx.Map.CustomFieldsManager()
		case kind == "ExtensionManager":
			object = ctx.Map.ExtensionManager()
		}
		for name, field := range fields(object, kind) {
			if !field.CanSet() {
				t.Errorf("%s of %s cannot be set", name, kind)
			}
		}
	}
}
