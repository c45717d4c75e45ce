// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
)

// claim is what decides about a machine's name. Claims with equal values give equal names, whatever happened before.
type claim struct {
	namespace string
	// base is the wanted name.
	base string
	// plain says that the base itself may be the name. Else each candidate carries a hash.
	plain bool
	// managed, created and ref rank the claims to one name: machines with metadata first, then the older, then by
	// managed-object id.
	managed bool
	created int64
	ref     string
}

// claimFor decides what a machine asks for. meta is nil for an unmanaged one.
func claimFor(ref, vcenterName string, created int64, place *facts.Place, meta *Metadata) claim {
	c := claim{namespace: place.Namespace, created: created, ref: ref}
	if meta != nil {
		c.base, c.plain, c.managed = meta.Name, true, true
		return c
	}
	c.base = namespace.Decode(vcenterName)
	c.plain = place.Direct && len(validation.IsDNS1123Subdomain(c.base)) == 0
	return c
}

// name is the i-th choice. There is no end to them.
func (c *claim) name(i int) string {
	if c.plain {
		if i == 0 {
			return c.base
		}
		i--
	}
	return namespace.Slug(c.base, "vm", c.ref, i, validation.DNS1123SubdomainMaxLength)
}

func (c *claim) compare(other *claim) int {
	if c.managed != other.managed {
		if c.managed {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(c.created, other.created), cmp.Compare(c.ref, other.ref))
}

// allotment gives each machine a name that no other has. The outcome is the one of letting the machines choose in the
// order of their rank, each the first of its choices that is free, and so depends only on which machines there are. It
// is kept up to date change by change: a machine waits for each name that it would rather have, and a better one that
// comes later displaces the holder.
type allotment struct {
	names map[string]*allotted
	// changed is called for each machine that got, lost or changed its name.
	changed func(*known)
}

type allotted struct {
	holder  *known
	waiting []*known
}

// Key is the mirror's key of the machine that is served under a name.
func Key(namespace, name string) string { return KeyPrefix + namespace + "/" + name }

// enter gives a name to a machine whose claim is set, displacing others where it comes before them.
func (a *allotment) enter(m *known) {
	for choice := 0; ; choice++ {
		k := Key(m.claim.namespace, m.claim.name(choice))
		n := a.names[k]
		if n == nil {
			n = &allotted{}
			a.names[k] = n
		}
		if n.holder == nil {
			n.holder = m
			a.assign(m, choice, k)
			return
		}
		if m.claim.compare(&n.holder.claim) < 0 {
			displaced := n.holder
			n.holder = m
			a.assign(m, choice, k)
			m, choice = displaced, displaced.choice
		}
		n.waiting = append(n.waiting, m)
	}
}

// leave takes the name from a machine and lets those who waited for it move up.
func (a *allotment) leave(m *known) {
	a.withdraw(m, m.choice)
	freed := m.key
	a.assign(m, 0, "")
	for freed != "" {
		n := a.names[freed]
		n.holder = nil
		if len(n.waiting) == 0 {
			delete(a.names, freed)
			return
		}
		best := n.waiting[0]
		for _, w := range n.waiting[1:] {
			if w.claim.compare(&best.claim) < 0 {
				best = w
			}
		}
		choice := 0
		for Key(best.claim.namespace, best.claim.name(choice)) != freed {
			choice++
		}
		// It no longer waits for this name, nor for those that it likes less, and frees the one that it had.
		for i := choice; i < best.choice; i++ {
			a.unwait(best, i)
		}
		next := best.key
		n.holder = best
		a.assign(best, choice, freed)
		freed = next
	}
}

func (a *allotment) withdraw(m *known, choices int) {
	for i := range choices {
		a.unwait(m, i)
	}
}

func (a *allotment) unwait(m *known, choice int) {
	n := a.names[Key(m.claim.namespace, m.claim.name(choice))]
	n.waiting = slices.DeleteFunc(n.waiting, func(w *known) bool { return w == m })
}

func (a *allotment) assign(m *known, choice int, k string) {
	m.choice, m.key = choice, k
	a.changed(m)
}
