// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/ssoadmin/types"
)

// LockoutAttempts is how many failed logins within three minutes lock an account,
// for five minutes: vCenter's lockout as it is by default. The administrator is
// never locked.
const LockoutAttempts = 5

const (
	lockoutWindow = 3 * time.Minute
	lockoutTime   = 5 * time.Minute
)

// User is somebody whom single sign-on knows.
type User struct {
	// Name is like dev-a@vsphere.local, with the case that vCenter shows.
	Name     string
	Password string
	// Groups are the names of the groups that the user is a direct member of.
	Groups   []string
	Disabled bool
	// Alias is another name, like dev-a@corp for dev-a@corp.example.com: it can
	// log in too, and sessions are in it, as those of Active Directory's users.
	Alias string
	// PrincipalName is a UPN that holds neither the account's name nor its domain, as
	// john.doe@example.com for jdoe@corp.example.com: it can log in too, and is found.
	PrincipalName string
}

// Group is a group of single sign-on.
type Group struct {
	// Name is like team-a-viewers@vsphere.local.
	Name string
	// MemberOf are the names of the groups that this one is a direct member of.
	MemberOf []string
}

// Directory is single sign-on's own: users, groups and the assertions that were
// issued. Names are found in any case and as user@domain or DOMAIN\user.
type Directory struct {
	mu         sync.Mutex
	admin      string // the key of the administrator
	domain     string
	users      map[string]*person
	groups     map[string]*group
	assertions map[string]assertion
	sessions   map[string]bool // those that logged in to the administration service
	forged     string
	deaf       bool
	shallow    bool
}

type person struct {
	id       types.PrincipalId
	alias    *types.PrincipalId
	upn      *types.PrincipalId
	password string
	disabled bool
	failures []time.Time
	locked   time.Time // until then
}

type group struct {
	id      types.PrincipalId
	members map[string]bool // keys of users and groups
}

type assertion struct {
	subject types.PrincipalId
	expires time.Time
}

// parsePrincipal reads user@domain and DOMAIN\user. The last @ counts.
func parsePrincipal(name string) (types.PrincipalId, bool) {
	if domain, user, ok := strings.Cut(name, `\`); ok {
		return types.PrincipalId{Name: user, Domain: domain}, user != "" && domain != ""
	}
	at := strings.LastIndex(name, "@")
	if at < 1 || at == len(name)-1 {
		return types.PrincipalId{}, false
	}
	return types.PrincipalId{Name: name[:at], Domain: name[at+1:]}, true
}

func keyOf(id types.PrincipalId) string { return strings.ToLower(id.Name + "@" + id.Domain) }

func keyOfName(name string) string {
	id, _ := parsePrincipal(name)
	return keyOf(id)
}

// New makes a directory of the domain that the administrator is of, with the
// administrator in its group Administrators. It fails for a name that is not like
// user@domain.
func New(admin User, users []User, groups []Group) (*Directory, error) {
	d := &Directory{
		users: map[string]*person{}, groups: map[string]*group{}, assertions: map[string]assertion{},
		sessions: map[string]bool{},
	}
	id, ok := parsePrincipal(admin.Name)
	if !ok {
		return nil, fmt.Errorf("the name of the simulated administrator, %q, is not like user@domain", admin.Name)
	}
	d.admin, d.domain = keyOf(id), id.Domain
	admin.Groups = append(admin.Groups, "Administrators@"+d.domain)
	groups = append([]Group{{Name: "Administrators@" + d.domain}}, groups...)
	for _, g := range groups {
		id, ok := parsePrincipal(g.Name)
		if !ok {
			return nil, fmt.Errorf("the name of the simulated group %q is not like group@domain", g.Name)
		}
		d.groups[keyOf(id)] = &group{id: id, members: map[string]bool{}}
	}
	for _, g := range groups {
		for _, parent := range g.MemberOf {
			if err := d.Join(parent, g.Name); err != nil {
				return nil, err
			}
		}
	}
	for _, u := range append([]User{admin}, users...) {
		if err := d.Add(u); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Add makes a user, or replaces the one of that name.
func (d *Directory) Add(u User) error {
	id, ok := parsePrincipal(u.Name)
	if !ok {
		return fmt.Errorf("the name of the simulated user %q is not like user@domain", u.Name)
	}
	d.mu.Lock()
	p := &person{id: id, password: u.Password, disabled: u.Disabled}
	d.users[keyOf(id)] = p
	if alias, ok := parsePrincipal(u.Alias); ok {
		p.alias = &alias
		d.users[keyOf(alias)] = p
	}
	if upn, ok := parsePrincipal(u.PrincipalName); ok {
		p.upn = &upn
		d.users[keyOf(upn)] = p
	}
	d.mu.Unlock()
	for _, name := range u.Groups {
		if err := d.Join(name, u.Name); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes a user or a group, and its memberships.
func (d *Directory) Remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := keyOfName(name)
	if p := d.users[key]; p != nil {
		for _, other := range []*types.PrincipalId{p.alias, p.upn} {
			if other != nil {
				delete(d.users, keyOf(*other))
			}
		}
	}
	delete(d.users, key)
	delete(d.groups, key)
	for _, g := range d.groups {
		delete(g.members, key)
	}
}

// Disable keeps a user from logging in, or lets it again.
func (d *Directory) Disable(name string, disabled bool) error {
	return d.change(name, func(p *person) { p.disabled = disabled })
}

// SetPassword changes a user's password.
func (d *Directory) SetPassword(name, password string) error {
	return d.change(name, func(p *person) { p.password = password })
}

// Locked says whether so many wrong passwords were tried that vCenter refuses
// the right one too.
func (d *Directory) Locked(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.users[keyOfName(name)]
	return p != nil && time.Now().Before(p.locked)
}

func (d *Directory) change(name string, f func(*person)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.users[keyOfName(name)]
	if !ok {
		return fmt.Errorf("there is no simulated user %q", name)
	}
	f(p)
	return nil
}

// Join makes a user or a group a direct member of a group, which is made when
// it does not exist.
func (d *Directory) Join(parent, member string) error {
	id, ok := parsePrincipal(parent)
	if !ok {
		return fmt.Errorf("the name of the simulated group %q is not like group@domain", parent)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	g, ok := d.groups[keyOf(id)]
	if !ok {
		g = &group{id: id, members: map[string]bool{}}
		d.groups[keyOf(id)] = g
	}
	g.members[keyOfName(member)] = true
	return nil
}

// Leave ends a direct membership.
func (d *Directory) Leave(parent, member string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g, ok := d.groups[keyOfName(parent)]; ok {
		delete(g.members, keyOfName(member))
	}
}

// Forge makes the token service hand out an assertion for subject, whoever asks
// with whatever password, as govmomi's simulator does and as an attacker would
// wish. Empty ends that.
func (d *Directory) Forge(subject string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forged = subject
}

// Mute makes the token service fail every request, as one that is down does.
func (d *Directory) Mute(mute bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deaf = mute
}

// Shallow makes the administration service find only the groups that a user is
// a direct member of when all are asked for, as govmomi's simulator does.
func (d *Directory) Shallow(shallow bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shallow = shallow
}

// Authenticate checks a password as vCenter does: it returns the name with the
// case that it is known by, and counts failures.
func (d *Directory) Authenticate(name, password string) (types.PrincipalId, bool) {
	id, ok := parsePrincipal(name)
	if !ok {
		return types.PrincipalId{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.users[keyOf(id)]
	now := time.Now()
	if !ok || now.Before(p.locked) {
		return types.PrincipalId{}, false
	}
	if password == "" || p.password != password {
		p.failures = append(slices.DeleteFunc(p.failures, func(at time.Time) bool { return now.Sub(at) > lockoutWindow }),
			now)
		if len(p.failures) >= LockoutAttempts && keyOf(id) != d.admin {
			p.locked, p.failures = now.Add(lockoutTime), nil
		}
		return types.PrincipalId{}, false
	}
	p.failures = nil
	return p.id, !p.disabled
}

// SessionName is the name that a user's session is in.
func (d *Directory) SessionName(id types.PrincipalId) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.users[keyOf(id)]; p != nil && p.alias != nil {
		id = *p.alias
	}
	return strings.ToUpper(id.Domain) + `\` + id.Name
}

// parents returns the groups of a user or group, sorted: those that it is a
// direct member of, and, when all is set, those that it is through others.
func (d *Directory) parents(key string, all bool) []types.PrincipalId {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := map[string]types.PrincipalId{}
	for next := []string{key}; len(next) > 0; {
		member := next[0]
		next = next[1:]
		for parent, g := range d.groups {
			if _, known := found[parent]; !known && g.members[member] {
				found[parent] = g.id
				if all {
					next = append(next, parent)
				}
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b types.PrincipalId) int {
		return cmp.Compare(keyOf(a), keyOf(b))
	})
}

// issue notes a new assertion and returns its identifier.
func (d *Directory) issue(subject types.PrincipalId, lifetime time.Duration) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := "_" + uuid.NewString()
	now := time.Now()
	maps.DeleteFunc(d.assertions, func(_ string, a assertion) bool { return now.After(a.expires) })
	d.assertions[id] = assertion{subject: subject, expires: now.Add(lifetime)}
	return id
}

// issued says whether an assertion with that identifier was issued for subject
// and has not expired.
func (d *Directory) issued(id, subject string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.assertions[id]
	return ok && time.Now().Before(a.expires) && keyOf(a.subject) == keyOfName(subject)
}
