// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/collector"
)

// authorizationManager has permissions count in one respect: what somebody has
// the role "No access" on is kept from them, with all that lies below.
type authorizationManager struct {
	*simulator.AuthorizationManager
	tracker *collector.Tracker
}

// SetEntityPermissions gives roles, in place of those that were there.
func (m *authorizationManager) SetEntityPermissions(ctx *simulator.Context,
	req *types.SetEntityPermissions) soap.HasFault {
	body := m.AuthorizationManager.SetEntityPermissions(req)
	m.tell(ctx, req.Entity)
	return body
}

// RemoveEntityPermission takes a role away.
func (m *authorizationManager) RemoveEntityPermission(ctx *simulator.Context,
	req *types.RemoveEntityPermission) soap.HasFault {
	body := m.AuthorizationManager.RemoveEntityPermission(req)
	m.tell(ctx, req.Entity)
	return body
}

func (m *authorizationManager) tell(ctx *simulator.Context, entity types.ManagedObjectReference) {
	answer := m.AuthorizationManager.RetrieveEntityPermissions(ctx,
		&types.RetrieveEntityPermissions{This: m.Self, Entity: entity})
	m.tracker.SetPermissions(entity, answer.(*methods.RetrieveEntityPermissionsBody).Res.Returnval)
}

// searchIndex finds nothing that is kept from whoever searches.
type searchIndex struct {
	*simulator.SearchIndex
	tracker *collector.Tracker
}

// FindByInventoryPath replaces the simulator's.
func (s *searchIndex) FindByInventoryPath(ctx *simulator.Context, req *types.FindByInventoryPath) soap.HasFault {
	body := s.SearchIndex.FindByInventoryPath(ctx, req)
	found, ok := body.(*methods.FindByInventoryPathBody)
	if ok && found.Res != nil && found.Res.Returnval != nil && s.tracker.Hides(ctx, *found.Res.Returnval) {
		found.Res.Returnval = nil
	}
	return body
}

// TakeRole gives an account, such as dev-a@vsphere.local, the role "No access" on a folder or a machine, which is named
// by its path or by the end of that. Unlike a Builder's NoAccess it does not depend on what the administrator may see.
func (v *VCenter) TakeRole(path, account string) error {
	return v.permit(path, func(m *simulator.AuthorizationManager, entity types.ManagedObjectReference) {
		m.SetEntityPermissions(&types.SetEntityPermissions{This: m.Self, Entity: entity, Permission: []types.Permission{{
			Entity: &entity, Principal: principal(account), RoleId: collector.NoAccess, Propagate: true,
		}}})
	})
}

// GiveRole undoes TakeRole.
func (v *VCenter) GiveRole(path, account string) error {
	return v.permit(path, func(m *simulator.AuthorizationManager, entity types.ManagedObjectReference) {
		m.RemoveEntityPermission(&types.RemoveEntityPermission{This: m.Self, Entity: entity, User: principal(account)})
	})
}

func (v *VCenter) permit(path string, change func(*simulator.AuthorizationManager,
	types.ManagedObjectReference)) error {
	entity, err := v.tracker.At(path)
	if err != nil {
		return fmt.Errorf("change a role: %w", err)
	}
	ctx := v.inProcess()
	content := ctx.Map.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content
	manager := &authorizationManager{
		AuthorizationManager: ctx.Map.Get(*content.AuthorizationManager).(*simulator.AuthorizationManager),
		tracker:              v.tracker,
	}
	v.gate.enter(func() {
		ctx.WithLock(manager.AuthorizationManager, func() {
			change(manager.AuthorizationManager, entity)
			manager.tell(ctx, entity)
		})
	})
	return nil
}

// principal is how permissions name an account.
func principal(account string) string {
	name, domain, _ := strings.Cut(account, "@")
	return strings.ToUpper(domain) + `\` + name
}

// NoAccess gives an account, such as dev-a@vsphere.local, the role "No access"
// on what lies at a path below the datacenter's VM folder.
func (b *Builder) NoAccess(ctx context.Context, path, account string) error {
	return b.permit(ctx, path, account, func(m *object.AuthorizationManager, entity types.ManagedObjectReference,
		principal string) error {
		return m.SetEntityPermissions(ctx, entity, []types.Permission{{
			Entity: &entity, Principal: principal, RoleId: collector.NoAccess, Propagate: true,
		}})
	})
}

// Access undoes NoAccess.
func (b *Builder) Access(ctx context.Context, path, account string) error {
	return b.permit(ctx, path, account, func(m *object.AuthorizationManager, entity types.ManagedObjectReference,
		principal string) error {
		return m.RemoveEntityPermission(ctx, entity, principal, false)
	})
}

func (b *Builder) permit(ctx context.Context, path, account string,
	change func(*object.AuthorizationManager, types.ManagedObjectReference, string) error) error {
	found, err := b.finder.ManagedObjectList(ctx, b.folders.VmFolder.InventoryPath+"/"+path)
	if err != nil {
		return fmt.Errorf("find %s: %w", path, err)
	}
	if len(found) != 1 {
		return fmt.Errorf("there are %d objects at %s, not one", len(found), path)
	}
	if err := change(object.NewAuthorizationManager(b.Client.Client), found[0].Object.Reference(),
		principal(account)); err != nil {
		return fmt.Errorf("change the role of %s on %s: %w", account, path, err)
	}
	return nil
}
