// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"maps"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// NoAccess is the role that shows nothing of an object.
const NoAccess = -5

// SetPermissions notes who has which role on an entity itself. Of roles the
// tracker tells NoAccess from all others.
func (t *Tracker) SetPermissions(entity types.ManagedObjectReference, permissions []types.Permission) {
	shown := make(map[string]bool, len(permissions))
	for _, permission := range permissions {
		if !permission.Group {
			shown[strings.ToLower(permission.Principal)] = permission.RoleId != NoAccess
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if maps.Equal(t.shown[entity], shown) {
		return
	}
	t.shown[entity] = shown
	t.mark(entity, true)
	for ref := range t.entities {
		if t.below(ref, entity) {
			t.mark(ref, true)
		}
	}
	t.notify()
}

// below says whether an entity lies in another one. The caller holds mu.
func (t *Tracker) below(ref, ancestor types.ManagedObjectReference) bool {
	for ; ref.Value != ""; ref = t.entities[ref].parent {
		if ref == ancestor {
			return true
		}
	}
	return false
}

// Hides says whether an entity is kept from whoever calls: the permission that
// counts is the one that lies nearest on the way up.
func (t *Tracker) Hides(ctx *simulator.Context, ref types.ManagedObjectReference) bool {
	if ctx.Session == nil {
		return false
	}
	user := strings.ToLower(ctx.Session.UserName)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.shown) == 0 {
		return false
	}
	for ; ref.Value != ""; ref = t.entities[ref].parent {
		if shown, ok := t.shown[ref][user]; ok {
			return !shown
		}
	}
	return false
}

// denied is the fault of whoever names an object that is kept from them: that
// takes the privilege to view it.
func (t *Tracker) denied(ctx *simulator.Context, specs []types.PropertyFilterSpec) types.BaseMethodFault {
	for _, spec := range specs {
		for _, set := range spec.ObjectSet {
			if t.Hides(ctx, set.Obj) {
				return &types.NoPermission{Object: &set.Obj, PrivilegeId: "System.View"}
			}
		}
	}
	return nil
}

// withhold takes out of contents what is kept from whoever calls, and says so in
// its place, as vCenter does.
func (t *Tracker) withhold(ctx *simulator.Context, contents []types.ObjectContent) {
	for i, content := range contents {
		if len(content.PropSet) == 0 || !t.Hides(ctx, content.Obj) {
			continue
		}
		for _, property := range content.PropSet {
			contents[i].MissingSet = append(contents[i].MissingSet, types.MissingProperty{
				Path: property.Name,
				Fault: types.LocalizedMethodFault{Fault: &types.NoPermission{
					Object: &contents[i].Obj, PrivilegeId: "System.View",
				}},
			})
		}
		contents[i].PropSet = nil
	}
}
