// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"cmp"
	"slices"

	k8stypes "k8s.io/apimachinery/pkg/types"
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
	// managed, former, created and ref rank the claims to one name: machines with metadata first, those last whose
	// former name it is, then the older, then by managed-object id.
	managed bool
	former  bool
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
	if c.former != other.former {
		if other.former {
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
	holders map[k8stypes.NamespacedName]*known
	waiting map[k8stypes.NamespacedName][]*known
	// changed is called for each machine that got, lost or changed its name.
	changed func(*known)
}

// choose is the i-th choice with its namespace.
func (c *claim) choose(i int) k8stypes.NamespacedName {
	return k8stypes.NamespacedName{Namespace: c.namespace, Name: c.name(i)}
}

// enter gives a name to a machine whose claim is set, displacing others where it comes before them.
func (a *allotment) enter(m *known) {
	for choice := 0; ; choice++ {
		k := m.claim.choose(choice)
		holder := a.holders[k]
		if holder == nil {
			a.holders[k] = m
			a.assign(m, choice, k.Name)
			return
		}
		if m.claim.compare(&holder.claim) < 0 {
			a.holders[k] = m
			a.assign(m, choice, k.Name)
			m, choice = holder, holder.choice
		}
		a.waiting[k] = append(a.waiting[k], m)
	}
}

// leave takes the name from a machine and lets those who waited for it move up.
func (a *allotment) leave(m *known) {
	a.withdraw(m, m.choice)
	freed := k8stypes.NamespacedName{Namespace: m.claim.namespace, Name: m.name}
	a.assign(m, 0, "")
	for freed.Name != "" {
		waiting := a.waiting[freed]
		if len(waiting) == 0 {
			delete(a.holders, freed)
			return
		}
		best := waiting[0]
		for _, w := range waiting[1:] {
			if w.claim.compare(&best.claim) < 0 {
				best = w
			}
		}
		choice := 0
		for best.claim.choose(choice) != freed {
			choice++
		}
		// It no longer waits for this name, nor for those that it likes less, and frees the one that it had.
		for i := choice; i < best.choice; i++ {
			a.unwait(best, i)
		}
		next := k8stypes.NamespacedName{Namespace: best.claim.namespace, Name: best.name}
		a.holders[freed] = best
		a.assign(best, choice, freed.Name)
		freed = next
	}
}

func (a *allotment) withdraw(m *known, choices int) {
	for i := range choices {
		a.unwait(m, i)
	}
}

func (a *allotment) unwait(m *known, choice int) {
	k := m.claim.choose(choice)
	rest := slices.DeleteFunc(a.waiting[k], func(w *known) bool { return w == m })
	if a.waiting[k] = rest; len(rest) == 0 {
		delete(a.waiting, k)
	}
}

func (a *allotment) assign(m *known, choice int, name string) {
	m.choice, m.name = choice, name
	a.changed(m)
}
