// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/ssoadmin/methods"
	ssosim "github.com/vmware/govmomi/ssoadmin/simulator"
	"github.com/vmware/govmomi/ssoadmin/types"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	vim "github.com/vmware/govmomi/vim25/types"
)

// NewAdministration is the administration service of single sign-on over the
// directory: the simulator's, with objects of ours where it keeps principals in
// maps that calls race for, knows no nested groups, and lets anybody in.
func NewAdministration(registry *simulator.Registry, listen *url.URL, d *Directory) *simulator.Registry {
	r := ssosim.New(registry, listen)
	content := new(ssosim.ServiceInstance).SsoAdminServiceInstance(nil,
		nil).(*methods.SsoAdminServiceInstanceBody).Res.Returnval
	check := new(ssosim.GroupcheckServiceInstance).SsoGroupcheckServiceInstance(nil,
		nil).(*methods.SsoGroupcheckServiceInstanceBody).Res.Returnval
	r.Put(&ssoSessions{ManagedObjectReference: content.SessionManager, d: d})
	r.Put(&ssoPrincipals{ManagedObjectReference: content.PrincipalManagementService, d: d})
	r.Put(&ssoDiscovery{ManagedObjectReference: content.PrincipalDiscoveryService, d: d})
	r.Put(&ssoGroupCheck{ManagedObjectReference: check.GroupCheckService, d: d})
	r.Handler = d.requireLogin
	return r
}

// requireLogin lets only those call who logged in with an assertion.
func (d *Directory) requireLogin(ctx *simulator.Context, method *simulator.Method) (mo.Reference, vim.BaseMethodFault) {
	switch method.Name {
	case "SsoAdminServiceInstance", "SsoGroupcheckServiceInstance", "Login", "Logout", "GetTrustedCertificates":
		return nil, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Session == nil || !d.sessions[ctx.Session.Key] {
		return nil, new(vim.NotAuthenticated)
	}
	return nil, nil
}

// IssuedTo says whether the header of a call holds an assertion of ours.
func (d *Directory) IssuedTo(header soap.Header) (string, bool) {
	var security struct {
		Assertion struct {
			ID      string `xml:",attr"`
			Subject string `xml:"Subject>NameID"`
		}
	}
	element, ok := header.Security.(*simulator.Element)
	if !ok {
		return "", false
	}
	// It always fails at the end, which is not part of the element's content.
	_ = element.Decode(&security)
	return security.Assertion.Subject, d.issued(security.Assertion.ID, security.Assertion.Subject)
}

type ssoSessions struct {
	vim.ManagedObjectReference
	d *Directory
}

func (s *ssoSessions) Login(ctx *simulator.Context, _ *types.Login) soap.HasFault {
	body := new(methods.LoginBody)
	subject, ok := s.d.IssuedTo(ctx.Header)
	if !ok {
		body.Fault_ = simulator.Fault("Invalid credentials", new(vim.InvalidLogin))
		return body
	}
	if ctx.Session == nil {
		ctx.SetSession(simulator.Session{
			UserSession: vim.UserSession{Key: uuid.NewString(), UserName: subject},
			Registry:    simulator.NewRegistry(), Map: ctx.Map,
		}, true)
	}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.sessions[ctx.Session.Key] = true
	body.Res = new(types.LoginResponse)
	return body
}

func (s *ssoSessions) Logout(ctx *simulator.Context, _ *types.Logout) soap.HasFault {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if ctx.Session != nil {
		delete(s.d.sessions, ctx.Session.Key)
	}
	return &methods.LogoutBody{Res: new(types.LogoutResponse)}
}

type ssoGroupCheck struct {
	vim.ManagedObjectReference
	d *Directory
}

// FindAllParentGroups finds nested groups too, as vCenter does.
func (s *ssoGroupCheck) FindAllParentGroups(_ *simulator.Context, req *types.FindAllParentGroups) soap.HasFault {
	body := new(methods.FindAllParentGroupsBody)
	if s.d.person(req.UserId) == nil {
		body.Fault_ = simulator.Fault("", new(vim.NotFound))
		return body
	}
	s.d.mu.Lock()
	all := !s.d.shallow
	s.d.mu.Unlock()
	body.Res = &types.FindAllParentGroupsResponse{Returnval: s.d.parents(keyOf(req.UserId), all)}
	return body
}

type ssoDiscovery struct {
	vim.ManagedObjectReference
	d *Directory
}

// person returns what the service shows of a user, nil for none.
func (d *Directory) person(id types.PrincipalId) *types.AdminPersonUser {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.users[keyOf(id)]
	if !ok {
		return nil
	}
	return &types.AdminPersonUser{Id: p.id, Alias: p.alias, Disabled: p.disabled}
}

func (s *ssoDiscovery) FindUser(_ *simulator.Context, req *types.FindUser) soap.HasFault {
	body := &methods.FindUserBody{Res: new(types.FindUserResponse)}
	if p := s.d.person(req.UserId); p != nil {
		body.Res.Returnval = &types.AdminUser{Id: p.Id, Alias: p.Alias, Kind: "person"}
	}
	return body
}

func (s *ssoDiscovery) FindPersonUser(_ *simulator.Context, req *types.FindPersonUser) soap.HasFault {
	return &methods.FindPersonUserBody{Res: &types.FindPersonUserResponse{Returnval: s.d.person(req.UserId)}}
}

func (s *ssoDiscovery) FindGroup(_ *simulator.Context, req *types.FindGroup) soap.HasFault {
	body := &methods.FindGroupBody{Res: new(types.FindGroupResponse)}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if g, ok := s.d.groups[keyOf(req.GroupId)]; ok {
		body.Res.Returnval = &types.AdminGroup{Id: g.id}
	}
	return body
}

func (s *ssoDiscovery) FindGroups(_ *simulator.Context, req *types.FindGroups) soap.HasFault {
	body := &methods.FindGroupsBody{Res: new(types.FindGroupsResponse)}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.d.groups)) {
		id := s.d.groups[key].id
		if (req.Criteria.Domain == "" || strings.EqualFold(id.Domain, req.Criteria.Domain)) &&
			strings.Contains(id.Name, req.Criteria.SearchString) {
			body.Res.Returnval = append(body.Res.Returnval, types.AdminGroup{Id: id})
		}
	}
	return body
}

func (s *ssoDiscovery) FindDirectParentGroups(_ *simulator.Context, req *types.FindDirectParentGroups) soap.HasFault {
	body := &methods.FindDirectParentGroupsBody{Res: new(types.FindDirectParentGroupsResponse)}
	for _, id := range s.d.parents(keyOf(req.PrincipalId), false) {
		body.Res.Returnval = append(body.Res.Returnval, types.AdminGroup{Id: id})
	}
	return body
}

type ssoPrincipals struct {
	vim.ManagedObjectReference
	d *Directory
}

func (s *ssoPrincipals) local(name string) string {
	if strings.ContainsAny(name, `@\`) {
		return name
	}
	return name + "@" + s.d.domain
}

func (s *ssoPrincipals) CreateLocalPersonUser(_ *simulator.Context, req *types.CreateLocalPersonUser) soap.HasFault {
	body := new(methods.CreateLocalPersonUserBody)
	id := types.PrincipalId{Name: req.UserName, Domain: s.d.domain}
	if s.d.person(id) != nil {
		body.Fault_ = simulator.Fault("", &vim.DuplicateName{Name: req.UserName})
		return body
	}
	if err := s.d.Add(User{Name: id.Name + "@" + id.Domain, Password: req.Password}); err != nil {
		body.Fault_ = simulator.Fault(err.Error(), new(vim.InvalidArgument))
		return body
	}
	body.Res = new(types.CreateLocalPersonUserResponse)
	return body
}

func (s *ssoPrincipals) ResetLocalPersonUserPassword(_ *simulator.Context,
	req *types.ResetLocalPersonUserPassword) soap.HasFault {
	body := new(methods.ResetLocalPersonUserPasswordBody)
	if s.d.SetPassword(s.local(req.UserName), req.NewPassword) != nil {
		body.Fault_ = simulator.Fault("", new(vim.NotFound))
		return body
	}
	body.Res = new(types.ResetLocalPersonUserPasswordResponse)
	return body
}

func (s *ssoPrincipals) DisableUserAccount(_ *simulator.Context, req *types.DisableUserAccount) soap.HasFault {
	body := &methods.DisableUserAccountBody{Res: new(types.DisableUserAccountResponse)}
	body.Res.Returnval = s.d.Disable(req.UserId.Name+"@"+req.UserId.Domain, true) == nil
	return body
}

func (s *ssoPrincipals) EnableUserAccount(_ *simulator.Context, req *types.EnableUserAccount) soap.HasFault {
	body := &methods.EnableUserAccountBody{Res: new(types.EnableUserAccountResponse)}
	body.Res.Returnval = s.d.Disable(req.UserId.Name+"@"+req.UserId.Domain, false) == nil
	return body
}

func (s *ssoPrincipals) CreateLocalGroup(_ *simulator.Context, req *types.CreateLocalGroup) soap.HasFault {
	body := new(methods.CreateLocalGroupBody)
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	id := types.PrincipalId{Name: req.GroupName, Domain: s.d.domain}
	if s.d.groups[keyOf(id)] != nil {
		body.Fault_ = simulator.Fault("", &vim.DuplicateName{Name: req.GroupName})
		return body
	}
	s.d.groups[keyOf(id)] = &group{id: id, members: map[string]bool{}}
	body.Res = new(types.CreateLocalGroupResponse)
	return body
}

func (s *ssoPrincipals) DeleteLocalPrincipal(_ *simulator.Context, req *types.DeleteLocalPrincipal) soap.HasFault {
	s.d.Remove(s.local(req.PrincipalName))
	return &methods.DeleteLocalPrincipalBody{Res: new(types.DeleteLocalPrincipalResponse)}
}

// join adds members to a group that exists.
func (s *ssoPrincipals) join(name string, members []types.PrincipalId) *soap.Fault {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	g, ok := s.d.groups[keyOfName(s.local(name))]
	if !ok {
		return simulator.Fault("", new(vim.NotFound))
	}
	for _, id := range members {
		if s.d.users[keyOf(id)] == nil && s.d.groups[keyOf(id)] == nil {
			return simulator.Fault("", new(vim.NotFound))
		}
	}
	for _, id := range members {
		g.members[keyOf(id)] = true
	}
	return nil
}

func (s *ssoPrincipals) AddUsersToLocalGroup(_ *simulator.Context, req *types.AddUsersToLocalGroup) soap.HasFault {
	if fault := s.join(req.GroupName, req.UserIds); fault != nil {
		return &methods.AddUsersToLocalGroupBody{Fault_: fault}
	}
	return &methods.AddUsersToLocalGroupBody{Res: new(types.AddUsersToLocalGroupResponse)}
}

func (s *ssoPrincipals) AddGroupsToLocalGroup(_ *simulator.Context, req *types.AddGroupsToLocalGroup) soap.HasFault {
	if fault := s.join(req.GroupName, req.GroupIds); fault != nil {
		return &methods.AddGroupsToLocalGroupBody{Fault_: fault}
	}
	return &methods.AddGroupsToLocalGroupBody{Res: new(types.AddGroupsToLocalGroupResponse)}
}

func (s *ssoPrincipals) RemovePrincipalsFromLocalGroup(_ *simulator.Context,
	req *types.RemovePrincipalsFromLocalGroup) soap.HasFault {
	for _, id := range req.PrincipalsIds {
		s.d.Leave(s.local(req.GroupName), id.Name+"@"+id.Domain)
	}
	return &methods.RemovePrincipalsFromLocalGroupBody{Res: new(types.RemovePrincipalsFromLocalGroupResponse)}
}
