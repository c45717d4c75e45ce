// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
)

// Source is an inventory of Machines machines. It takes the place of an inventory.Collector.
type Source struct {
	Machines int
	Handler  inventory.Handler
	Clock    clock.PassiveClock
	// Socket is the path of the Unix socket on which changes are asked for; there is none where it is empty.
	Socket string

	// turns lets one update at a time through to the handler.
	turns    sync.Mutex
	machines []inventory.Object

	mu     sync.Mutex
	synced bool
}

// Run hands over the full set, and then the changes that are asked for, until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	objects := surroundings()
	kinds := picture.Kinds(keys())
	reduce := kinds[slices.IndexFunc(kinds, func(kind inventory.Kind) bool {
		return kind.Type == facts.TypeMachine
	})].Reduce
	s.machines = make([]inventory.Object, s.Machines)
	for i := range s.machines {
		made, err := machine(i)
		if err != nil {
			return fmt.Errorf("make machine %d: %w", i, err)
		}
		// As the collector does.
		for path, value := range made.Properties {
			made.Properties[path] = reduce(path, value)
		}
		s.machines[i] = made
	}
	s.turns.Lock()
	s.Handler.Apply(inventory.Update{Initial: true, NamespacesFolder: root(), Changed: append(objects, s.machines...)})
	s.turns.Unlock()
	s.mu.Lock()
	s.synced = true
	s.mu.Unlock()
	if s.Socket == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.serve(ctx)
}

func root() types.ManagedObjectReference { return reference(facts.TypeFolder, rootFolder) }

// Rename gives the guests of count machines, from the first-th on, another host name each, as one step of the
// inventory: prefix and the machine's number.
func (s *Source) Rename(first, count int, prefix string) error {
	s.turns.Lock()
	defer s.turns.Unlock()
	if first < 0 || count < 0 || first+count > len(s.machines) {
		return fmt.Errorf("machines %d to %d: there are %d", first, first+count-1, len(s.machines))
	}
	update := inventory.Update{NamespacesFolder: root(), Changed: make([]inventory.Object, count)}
	for i := range count {
		changed := s.machines[first+i]
		changed.Properties = maps.Clone(changed.Properties)
		changed.Properties[pathGuestHostName] = fmt.Sprintf("%s%d", prefix, first+i)
		s.machines[first+i], update.Changed[i] = changed, changed
	}
	s.Handler.Apply(update)
	return nil
}

// Status says that all is well: nothing can get lost here.
func (s *Source) Status() inventory.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return inventory.Status{
		Synced: s.synced, LastUpdate: s.Clock.Now(), NamespacesFolder: root(),
		Objects: map[string]int{facts.TypeMachine: s.Machines},
	}
}

// Refresh has nothing to read again: nobody but this source changes its machines.
func (s *Source) Refresh(context.Context, types.ManagedObjectReference) error { return nil }
