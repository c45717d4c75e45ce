// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/placement"
)

func id(kind, value string) facts.ID { return facts.ID{VCenter: "vc", Type: kind, Value: value} }

// site has two clusters: a, whose DRS chooses hosts, and b, whose DRS is off. All hosts write to shared, those of a to
// local besides.
func site() facts.Step {
	host := func(name, cluster string) facts.Host {
		return facts.Host{ID: id(facts.TypeHost, name), Name: name, Parent: id(facts.TypeCluster, cluster)}
	}
	pool := func(name, cluster string) facts.Pool {
		return facts.Pool{ID: id(facts.TypePool, name), Name: name, Owner: id(facts.TypeCluster, cluster)}
	}
	hosts := func(names ...string) (ids []facts.ID) {
		for _, name := range names {
			ids = append(ids, id(facts.TypeHost, name))
		}
		return ids
	}
	return facts.Step{
		Initial: true,
		Clusters: []facts.Cluster{{ID: id(facts.TypeCluster, "a"), Name: "a"},
			{ID: id(facts.TypeCluster, "b"), Name: "b", DRSOff: true}},
		Hosts: []facts.Host{host("a1", "a"), host("a2", "a"), host("b1", "b"), host("b2", "b")},
		Pools: []facts.Pool{pool("pool-a", "a"), pool("pool-b", "b")},
		Datastores: []facts.Datastore{
			{ID: id(facts.TypeDatastore, "shared"), Name: "shared", URL: "ds:///vmfs/volumes/1/", Free: 100 << 30,
				Hosts: hosts("a1", "a2", "b1")},
			{ID: id(facts.TypeDatastore, "local"), Name: "local", URL: "ds:///vmfs/volumes/2/", Free: 50 << 30,
				Hosts: hosts("a2")},
		},
	}
}

func chooser(change func(*facts.Step)) *placement.Chooser {
	c := &placement.Chooser{Random: rand.New(rand.NewPCG(1, 2))}
	step := site()
	if change != nil {
		change(&step)
	}
	c.Take(step)
	return c
}

func TestChoose(t *testing.T) {
	both := []facts.ID{id(facts.TypePool, "pool-a"), id(facts.TypePool, "pool-b")}
	anywhere := []string{"local", "shared"}
	tests := []struct {
		name      string
		change    func(*facts.Step)
		wish      placement.Wish
		pool      string
		host      string
		datastore string
	}{
		{"the most free", nil, placement.Wish{Pools: both[:1], Datastores: anywhere, Space: 1 << 30}, "pool-a", "", "shared"},
		{"the policy's", nil, placement.Wish{Pools: both, Datastores: []string{"local"}, Space: 1 << 30}, "pool-a", "",
			"local"},
		{"DRS is off: a host that writes to it", nil, placement.Wish{Pools: both[1:], Datastores: anywhere}, "pool-b", "b1",
			"shared"},
		{"a host in maintenance", func(s *facts.Step) { s.Hosts[0].Away, s.Hosts[1].Away = true, true },
			placement.Wish{Pools: both, Datastores: anywhere}, "pool-b", "b1", "shared"},
		{"a datastore that is away", func(s *facts.Step) { s.Datastores[0].Away = true },
			placement.Wish{Pools: both, Datastores: anywhere}, "pool-a", "", "local"},
		{"a datastore that is full", func(s *facts.Step) { s.Datastores[0].Free = 1 },
			placement.Wish{Pools: both, Datastores: anywhere, Space: 2}, "pool-a", "", "local"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			place, err := chooser(test.change).Choose(test.wish)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{place.Pool.Value, place.Host.Value, place.Datastore.Name}
			if diff := cmp.Diff([]string{test.pool, test.host, test.datastore}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoPlace(t *testing.T) {
	a, b := id(facts.TypePool, "pool-a"), id(facts.TypePool, "pool-b")
	tests := []struct {
		name   string
		change func(*facts.Step)
		wish   placement.Wish
		says   []string
	}{
		{"no pool", nil, placement.Wish{}, []string{"no resource pool"}},
		{"a pool that is gone", nil, placement.Wish{Pools: []facts.ID{id(facts.TypePool, "gone")}},
			[]string{"gone is not in vCenter"}},
		{"no host", func(s *facts.Step) { s.Hosts = s.Hosts[2:] },
			placement.Wish{Pools: []facts.ID{a}, Datastores: []string{"shared"}},
			[]string{"cluster a no host"}},
		{"nothing satisfies the policy", nil, placement.Wish{Pools: []facts.ID{a, b}, Policy: "Gold"},
			[]string{`policy "Gold"`, "cluster a", "cluster b"}},
		{"the hosts do not write to it", nil, placement.Wish{Pools: []facts.ID{b}, Policy: "Gold",
			Datastores: []string{"local"}},
			[]string{`policy "Gold" can be written to by the hosts of the cluster b`}},
		{"all are full", nil, placement.Wish{Pools: []facts.ID{a}, Policy: "Gold", Datastores: []string{"local", "shared"},
			Space: 200 << 30},
			[]string{"takes 200.0 GiB", "local has 50.0 GiB, shared has 100.0 GiB"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := chooser(test.change).Choose(test.wish)
			if !errors.Is(err, failure.ResourceExhausted) {
				t.Fatalf("got %v", err)
			}
			for _, want := range test.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// TestPromises holds that what was promised to a machine is not free, until it is made to its end, or gone.
func TestPromises(t *testing.T) {
	machine := func(uid string, build *facts.Build) *facts.Live {
		live := &facts.Live{ID: id(facts.TypeMachine, "vm-1")}
		live.InstanceUUID = uid
		live.Record = &facts.Record{Head: facts.Head{UID: uid, Build: build}}
		return live
	}
	begun := facts.Step{Machines: []*facts.Live{machine("aa-1", &facts.Build{})}}
	anew := func(machines ...*facts.Live) facts.Step {
		step := site()
		step.Machines = machines
		return step
	}
	gone := facts.Step{Removed: []facts.ID{id(facts.TypeMachine, "vm-1")}}
	for _, test := range []struct {
		name  string
		after func(*placement.Chooser)
		full  bool
	}{
		{"at once", func(*placement.Chooser) {}, true},
		{"given back", func(c *placement.Chooser) { c.Give("AA-1") }, false},
		{"another's is given back", func(c *placement.Chooser) { c.Give("BB-2") }, true},
		// It changes with whatever anybody writes there, and with the first file of the machine itself.
		{"vCenter tells of the datastore", func(c *placement.Chooser) {
			c.Take(facts.Step{Datastores: site().Datastores[:1]})
		}, true},
		{"its disks are yet to be copied", func(c *placement.Chooser) { c.Take(begun) }, true},
		{"it is made", func(c *placement.Chooser) {
			c.Take(begun)
			c.Take(facts.Step{Machines: []*facts.Live{machine("aa-1", nil)}})
		}, false},
		{"it is gone", func(c *placement.Chooser) { c.Take(begun); c.Take(gone) }, false},
		{"everything is told anew before it is seen", func(c *placement.Chooser) { c.Take(anew()) }, true},
		{"everything is told anew, and it is there", func(c *placement.Chooser) {
			c.Take(begun)
			c.Take(anew(begun.Machines...))
		}, true},
		{"everything is told anew, and it is gone", func(c *placement.Chooser) { c.Take(begun); c.Take(anew()) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := chooser(nil)
			wish := placement.Wish{Machine: "AA-1", Pools: []facts.ID{id(facts.TypePool, "pool-a")},
				Datastores: []string{"shared"}, Space: 60 << 30}
			if _, err := c.Choose(wish); err != nil {
				t.Fatal(err)
			}
			test.after(c)
			wish.Machine = "BB-2"
			if _, err := c.Choose(wish); errors.Is(err, failure.ResourceExhausted) != test.full {
				t.Errorf("another machine: %v", err)
			}
		})
	}
}

func TestDatastoreThatIsGone(t *testing.T) {
	c := chooser(nil)
	c.Take(facts.Step{Removed: []facts.ID{id(facts.TypeDatastore, "shared")}})
	_, err := c.Choose(placement.Wish{Pools: []facts.ID{id(facts.TypePool, "pool-a")}, Datastores: []string{"shared"}})
	if !errors.Is(err, failure.ResourceExhausted) {
		t.Errorf("got %v", err)
	}
}

func TestPath(t *testing.T) {
	c := chooser(nil)
	for url, want := range map[string]string{
		"ds:///vmfs/volumes/2/contentlib-1/2/disk-0.vmdk": "[local] contentlib-1/2/disk-0.vmdk",
		"ds:///vmfs/volumes/1//x.iso":                     "[shared] x.iso",
		"ds:///vmfs/volumes/3/x.iso":                      "",
		"/tmp/x.iso":                                      "",
	} {
		if got, found := c.Path(url); got != want || found != (want != "") {
			t.Errorf("%s is %q, %t", url, got, found)
		}
	}
}

// A pool is told with where it lies and what is kept for it, once its cluster is known.
func TestGround(t *testing.T) {
	known := facts.Pool{ID: id(facts.TypePool, "pool-c"), Name: "child", Owner: id(facts.TypeCluster, "a"),
		Parent: id(facts.TypePool, "pool-a"), CPU: facts.Allocation{Limit: -1, Reservation: 500}}
	lost := facts.Pool{ID: id(facts.TypePool, "pool-d"), Owner: id(facts.TypeCluster, "unknown")}
	c := chooser(func(step *facts.Step) { step.Pools = append(step.Pools, known, lost) })
	if pool, found := c.Ground(known.ID); !found || pool != known {
		t.Errorf("it is told as %+v, %v", pool, found)
	}
	for _, missing := range []facts.ID{lost.ID, id(facts.TypePool, "pool-e")} {
		if pool, found := c.Ground(missing); found {
			t.Errorf("%v is told as %+v", missing, pool)
		}
	}
}
