// SPDX-License-Identifier: Apache-2.0

package realisation

import (
	"context"
	"fmt"
	"slices"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// sightOf is how something was called and where it lay when vCenter told of it.
func sightOf(now facts.Entity) records.Sight {
	return records.Sight{Name: namespace.Decode(now.Name), Parent: now.Parent}
}

// poolNamed returns the pool of a name directly below the root pool of a zone. The
// error's kind is failure.NotFound when there is none.
func (b *Backend) poolNamed(ctx context.Context, name, zone string) (facts.Container, error) {
	root, found := b.Projector.Roots()[zone]
	if !found {
		return facts.Container{}, fmt.Errorf("look for resource pool %q in zone %q: there is no such cluster any more: %w",
			name, zone, failure.NotFound)
	}
	return b.PoolReader.Named(ctx, root.Pool, name)
}

// dwellers are the virtual machines in a resource pool, and in those in it.
type dwellers struct {
	// own is how many lie in the folder of the namespace.
	own int
	// stranger is the name of one that does not. Empty: there is none.
	stranger string
}

// dwellersOf asks vCenter itself what is in a pool.
func (b *Backend) dwellersOf(ctx context.Context, s projection.State, pool facts.ID) (dwellers, error) {
	machines, err := b.PoolReader.Machines(ctx, pool)
	if err != nil {
		return dwellers{}, err
	}
	var found dwellers
	for _, machine := range machines {
		if !machine.Parent.IsZero() && b.Projector.LiesIn(machine.Parent.Value, s.Folder) {
			found.own++
		} else {
			found.stranger = machine.Name
		}
	}
	return found, nil
}

// holdsNobodyElse says whether limits of a pool concern nobody but the namespace: nothing lies in it but machines from
// the folder of the namespace, as people put them there who saw it before it was written down.
func (b *Backend) holdsNobodyElse(ctx context.Context, s projection.State, pool facts.Container) (bool, error) {
	if slices.ContainsFunc(pool.Inside, func(id facts.ID) bool { return id.Type != facts.TypeMachine }) {
		return false, nil
	}
	found, err := b.dwellersOf(ctx, s, pool.ID)
	return err == nil && found.stranger == "", err
}
