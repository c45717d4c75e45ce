// SPDX-License-Identifier: Apache-2.0

package resourcepolicy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// set is what is known of the policies of a namespace. The Controller's lock guards it.
type set struct {
	places map[types.UID]place
	// promises are the machines that are being made by a policy, by their instance UUIDs.
	promises map[string]promise
	// changed is closed when places are others.
	changed chan struct{}
	// found are the folders and pools that were seen to be there, by their places, and members the modules' machines.
	found   map[thing]facts.ID
	members map[string]map[facts.ID]bool
	// told is what was told of a policy last.
	told map[types.UID]string
}

// place is where a policy's machines go.
type place struct {
	folder facts.ID
	pools  map[facts.ID]facts.ID
	// ending says that no machine may be placed there any more.
	ending bool
	// problem says why it is not there, empty where it is.
	problem string
}

// promise is a place that is kept for a machine that is being made.
type promise struct {
	policy string
	until  time.Time
}

// of returns the set of a namespace. The caller holds lock.
func (c *Controller) of(namespace string) *set {
	known := c.sets[namespace]
	if known == nil {
		known = &set{places: map[types.UID]place{}, promises: map[string]promise{}, changed: make(chan struct{}),
			found: map[thing]facts.ID{}, members: map[string]map[facts.ID]bool{}, told: map[types.UID]string{}}
		c.sets[namespace] = known
	}
	return known
}

// Use returns where the machines of a policy go: a folder, zero where the policy asks for none, and in place of each
// of the namespace's resource pools another, nil where it asks for none. It waits a little until those are there, and
// keeps them there for the machine of that instance UUID until that is seen, or Done is called. The error's kind is
// failure.NotFound where there is no such policy, failure.Conflict where it is being deleted, failure.Invalid where it
// has no such group, and failure.Unavailable where it has not come about yet. An empty group is none.
func (c *Controller) Use(ctx context.Context, namespace, name, group, machine string) (folder facts.ID,
	pools map[facts.ID]facts.ID, err error) {
	policy, err := c.Policies.Get(ctx, namespace, name)
	switch {
	case err != nil:
		return facts.ID{}, nil, fmt.Errorf("read the resource policy %q: %w", name, err)
	case policy.DeletionTimestamp != nil:
		return facts.ID{}, nil, errEnding(name)
	case group != "" && !slices.Contains(policy.Spec.ClusterModuleGroups, group):
		return facts.ID{}, nil, fmt.Errorf("the resource policy %q has no group %q: it has %s: %w", name, group,
			quoted(policy.Spec.ClusterModuleGroups), failure.Invalid)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		found, changed, err := c.promise(namespace, name, policy.UID, machine)
		switch {
		case err != nil:
			return facts.ID{}, nil, err
		case found != nil && found.problem == "":
			return found.folder, found.pools, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			problem := "vCenter is asked for it"
			if found != nil {
				problem = found.problem
			}
			return facts.ID{}, nil, fmt.Errorf("what the resource policy %q asks for is not there yet: %s: %w", name, problem,
				failure.Unavailable)
		}
	}
}

// promise keeps a place for a machine where there is one. Else changed is closed when that may be so.
func (c *Controller) promise(namespace, name string, uid types.UID, machine string) (found *place,
	changed <-chan struct{}, err error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.queue == nil {
		return nil, nil, errNotRunning
	}
	set := c.of(namespace)
	at, known := set.places[uid]
	switch {
	case !known:
		c.queue.Add(namespace)
		return nil, set.changed, nil
	case at.ending:
		return nil, nil, errEnding(name)
	case at.problem == "" && c.strayed(namespace, at):
		c.queue.Add(namespace)
		return nil, set.changed, nil
	case at.problem == "":
		set.promises[strings.ToLower(machine)] = promise{policy: name, until: c.Clock.Now().Add(promised)}
		at.pools = maps.Clone(at.pools)
	}
	return &at, set.changed, nil
}

// strayed says that somebody moved a policy's folder, or one of its pools, out of what is the namespace's. A machine that
// is made there would be somebody else's, or take from what is theirs.
func (c *Controller) strayed(namespace string, at place) bool {
	home, there := c.Site.Home(namespace)
	if !there {
		return true
	}
	for parent, id := range at.pools {
		if c.Site.Strayed(id, parent) {
			return true
		}
	}
	return !at.folder.IsZero() && c.Site.Strayed(at.folder, home.Folder)
}

// Done takes back the promise of Use: the machine was not made. What the policy has is looked at again, since that may
// be why.
func (c *Controller) Done(namespace, machine string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.queue == nil {
		return
	}
	set := c.of(namespace)
	delete(set.promises, strings.ToLower(machine))
	clear(set.found)
	c.queue.Add(namespace)
}

func errEnding(name string) error {
	return fmt.Errorf("the resource policy %q is being deleted: %w", name, failure.Conflict)
}

func quoted(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return `"` + strings.Join(names, `", "`) + `"`
}
