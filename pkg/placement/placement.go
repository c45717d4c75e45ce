// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// Wish is what a machine needs of its place.
type Wish struct {
	// Machine is its instance UUID.
	Machine string
	// Pools are those that it may take from, each in another cluster.
	Pools []facts.ID
	// Policy is the name of the storage policy, and Datastores are the managed-object ids of those that satisfy it.
	Policy     string
	Datastores []string
	// Space is how many bytes it is going to take.
	Space int64
}

// Place is where a machine is to lie and to run.
type Place struct {
	Cluster facts.Cluster
	Pool    facts.ID
	// Host is zero where DRS chooses.
	Host      facts.ID
	Datastore facts.Datastore
	// MHz is how fast a CPU is at least, wherever it comes to run; 0 where nothing tells.
	MHz int32
}

// Chooser follows the inventory and chooses. Its methods may be called from any goroutine.
type Chooser struct {
	// Random tells equals apart. Nil: the runtime's own.
	Random *rand.Rand

	mu         sync.Mutex
	clusters   map[facts.ID]facts.Cluster
	hosts      map[facts.ID]facts.Host
	pools      map[facts.ID]facts.Pool
	datastores map[facts.ID]facts.Datastore
	networks   map[facts.ID]facts.Network
	// promises are what was given away to machines that are not made to their end yet, by instance UUID.
	promises map[string]promise
}

// promise is space that is free as vCenter tells, and spoken for: that of a machine whose disks are yet to be copied. What
// is copied already counts twice until the machine is made, so that rather too little is given away than too much: a
// machine whose datastore is full cannot be made elsewhere any more.
type promise struct {
	store facts.ID
	space int64
	// machine is zero until that is to be seen.
	machine facts.ID
}

// Take implements facts.Follower.
func (c *Chooser) Take(step facts.Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if step.Initial || c.clusters == nil {
		c.clusters, c.hosts = map[facts.ID]facts.Cluster{}, map[facts.ID]facts.Host{}
		c.pools, c.datastores = map[facts.ID]facts.Pool{}, map[facts.ID]facts.Datastore{}
		c.networks = map[facts.ID]facts.Network{}
		// Of those that were seen, the ones that are there still are told of below.
		maps.DeleteFunc(c.promises, func(_ string, p promise) bool { return !p.machine.IsZero() && !told(step, p.machine) })
	}
	c.follow(step)
	for _, cluster := range step.Clusters {
		c.clusters[cluster.ID] = cluster
	}
	for _, host := range step.Hosts {
		c.hosts[host.ID] = host
	}
	for _, pool := range step.Pools {
		c.pools[pool.ID] = pool
	}
	for _, network := range step.Networks {
		c.networks[network.ID] = network
	}
	for _, store := range step.Datastores {
		c.datastores[store.ID] = store
	}
	for _, id := range step.Removed {
		delete(c.clusters, id)
		delete(c.hosts, id)
		delete(c.pools, id)
		delete(c.networks, id)
		delete(c.datastores, id)
	}
}

// follow ends the promises to machines that have what they were promised, or are gone.
func (c *Chooser) follow(step facts.Step) {
	if len(c.promises) == 0 {
		return
	}
	for _, live := range step.Machines {
		uid := strings.ToLower(live.InstanceUUID)
		promise, found := c.promises[uid]
		switch {
		case !found:
		case live.Build() == nil:
			delete(c.promises, uid)
		default:
			promise.machine = live.ID
			c.promises[uid] = promise
		}
	}
	for _, id := range step.Removed {
		maps.DeleteFunc(c.promises, func(_ string, p promise) bool { return p.machine == id })
	}
}

// told says whether a step tells of a machine.
func told(step facts.Step, id facts.ID) bool {
	return slices.ContainsFunc(step.Machines, func(live *facts.Live) bool { return live.ID == id })
}

// Choose returns a place, on the datastore with the most free space of all that will do, and promises that space to the
// machine until it is made to its end, or gone, or Give is called. Else the error, a
// failure.ResourceExhausted, says of each cluster why there is none.
func (c *Chooser) Choose(wish Wish) (Place, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var places []Place
	var reasons []string
	for _, id := range wish.Pools {
		found, reason := c.in(id, wish)
		places = append(places, found...)
		if reason != "" {
			reasons = append(reasons, reason)
		}
	}
	if len(places) == 0 {
		if len(wish.Pools) == 0 {
			reasons = []string{"there is no resource pool for it"}
		}
		return Place{}, fmt.Errorf("%s: %w", strings.Join(reasons, "; "), failure.ResourceExhausted)
	}
	c.shuffle(places)
	best := slices.MaxFunc(places, func(a, b Place) int { return cmp.Compare(c.free(a.Datastore), c.free(b.Datastore)) })
	if c.promises == nil {
		c.promises = map[string]promise{}
	}
	c.promises[strings.ToLower(wish.Machine)] = promise{store: best.Datastore.ID, space: wish.Space}
	return best, nil
}

// Give takes back the promise of Choose to a machine: it was not made.
func (c *Chooser) Give(machine string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.promises, strings.ToLower(machine))
}

func (c *Chooser) shuffle(places []Place) {
	swap := func(i, j int) { places[i], places[j] = places[j], places[i] }
	if c.Random == nil {
		rand.Shuffle(len(places), swap)
		return
	}
	c.Random.Shuffle(len(places), swap)
}

// free is how many bytes can still be given away.
func (c *Chooser) free(store facts.Datastore) int64 {
	free := store.Free
	for _, promise := range c.promises {
		if promise.store == store.ID {
			free -= promise.space
		}
	}
	return free
}

// in returns the places that a pool's cluster has, or why there is none.
func (c *Chooser) in(id facts.ID, wish Wish) (places []Place, reason string) {
	pool, found := c.pools[id]
	if !found {
		return nil, fmt.Sprintf("the resource pool %s is not in vCenter", id.Value)
	}
	cluster, found := c.clusters[pool.Owner]
	if !found {
		return nil, fmt.Sprintf("the resource pool %s is in no cluster", pool.Name)
	}
	hosts := c.connected(cluster.ID)
	if len(hosts) == 0 {
		return nil, fmt.Sprintf("in the cluster %s no host is connected and out of maintenance", cluster.Name)
	}
	var full []string
	for _, value := range wish.Datastores {
		store, found := c.datastores[facts.ID{VCenter: id.VCenter, Type: facts.TypeDatastore, Value: value}]
		if !found || store.Away {
			continue
		}
		usable := slices.DeleteFunc(slices.Clone(hosts), func(host facts.ID) bool { return !slices.Contains(store.Hosts, host) })
		if len(usable) == 0 {
			continue
		}
		if c.free(store) < wish.Space {
			full = append(full, fmt.Sprintf("%s has %s", store.Name, gigabytes(c.free(store))))
			continue
		}
		place := Place{Cluster: cluster, Pool: id, Datastore: store}
		if cluster.DRSOff {
			place.Host = usable[c.number(len(usable))]
			usable = []facts.ID{place.Host}
		}
		place.MHz = c.slowest(usable)
		places = append(places, place)
	}
	switch {
	case len(places) > 0:
		return places, ""
	case len(full) > 0:
		slices.Sort(full)
		return nil, fmt.Sprintf("it takes %s, and of the datastores that satisfy the storage policy %q and that the hosts of the cluster %s "+
			"write to, none has that free: %s", gigabytes(wish.Space), wish.Policy, cluster.Name, strings.Join(full, ", "))
	}
	return nil, fmt.Sprintf("no datastore that satisfies the storage policy %q can be written to by the hosts of the cluster %s",
		wish.Policy, cluster.Name)
}

func (c *Chooser) number(n int) int {
	if c.Random == nil {
		return rand.IntN(n)
	}
	return c.Random.IntN(n)
}

func gigabytes(bytes int64) string { return fmt.Sprintf("%.1f GiB", float64(max(0, bytes))/(1<<30)) }

// connected are the hosts of a cluster that something can begin on, by their ids.
func (c *Chooser) connected(cluster facts.ID) []facts.ID {
	var hosts []facts.ID
	for id, host := range c.hosts {
		if host.Parent == cluster && !host.Away {
			hosts = append(hosts, id)
		}
	}
	slices.SortFunc(hosts, func(a, b facts.ID) int { return cmp.Compare(a.Value, b.Value) })
	return hosts
}

// slowest is how many MHz a CPU of hosts has at least, 0 where nothing tells.
func (c *Chooser) slowest(hosts []facts.ID) (mhz int32) {
	for _, host := range hosts {
		if speed := c.hosts[host].MHz; speed > 0 && (mhz == 0 || speed < mhz) {
			mhz = speed
		}
	}
	return mhz
}

// Speed is how many MHz a CPU of a cluster has at least, 0 where nothing tells.
func (c *Chooser) Speed(cluster facts.ID) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slowest(c.connected(cluster))
}

// Path is where a file lies as vCenter's file operations name it, such as "[nfs] folder/disk.vmdk", by the URL that begins
// with its datastore's. found is false when there is no such datastore.
func (c *Chooser) Path(url string) (path string, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, store := range c.datastores {
		if base := strings.TrimSuffix(store.URL, "/"); base != "" {
			if rest, ok := strings.CutPrefix(url, base+"/"); ok {
				return "[" + store.Name + "] " + strings.TrimLeft(rest, "/"), true
			}
		}
	}
	return "", false
}

// Store returns the datastore of a name.
func (c *Chooser) Store(name string) (store facts.Datastore, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.datastores {
		if known.Name == name {
			return known, true
		}
	}
	return facts.Datastore{}, false
}

// Stores returns all datastores, in the order of their ids.
func (c *Chooser) Stores() []facts.Datastore {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Values(c.datastores), func(a, b facts.Datastore) int {
		return cmp.Compare(a.ID.Value, b.ID.Value)
	})
}

// Ground is a resource pool as vCenter has it. found is false where the pool, or its cluster, is not known.
func (c *Chooser) Ground(id facts.ID) (pool facts.Pool, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pool, found = c.pools[id]; found {
		_, found = c.clusters[pool.Owner]
	}
	return pool, found
}

// Network returns the network of a name that machines can be at. found is false where there is none, and where several are
// called so.
func (c *Chooser) Network(name string) (network facts.Network, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.networks {
		switch {
		case known.Name != name || known.Uplinks:
		case found:
			return facts.Network{}, false
		default:
			network, found = known, true
		}
	}
	return network, found
}
