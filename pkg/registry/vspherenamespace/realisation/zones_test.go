// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// withTeamB is twoClusters and team-b, with a pool and a machine in both clusters.
func withTeamB(ctx context.Context, b *vcentertest.Builder) error {
	vm := func(name, cluster string) error {
		return second(b.VirtualMachine(ctx, vcentertest.VM{Name: name, Folder: "Namespaces/team-b", Cluster: cluster,
			Pool:    "team-b",
			GuestID: "ubuntu64Guest", CPUs: 1, MemoryMB: 1024}))
	}
	return errors.Join(
		twoClusters(ctx, b), b.Folder(ctx, "Namespaces/team-b"),
		b.ResourcePool(ctx, "cluster-a", "team-b"), b.ResourcePool(ctx, "cluster-b", "team-b"), vm("cache-1", "cluster-a"),
		vm("cache-2", "cluster-b"),
	)
}

func (w *world) destroy(machine string) {
	w.t.Helper()
	found, err := find.NewFinder(w.builder().Client.Client).VirtualMachine(w.t.Context(), machine)
	if err != nil {
		w.t.Fatal(err)
	}
	task, err := found.Destroy(w.t.Context())
	if err == nil {
		err = task.WaitEx(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// readiness is what the condition Ready says.
func readiness(object *v1alpha1.Namespace) metav1.Condition { return object.Status.Conditions[0] }

// A zone that is given up while machines are in it shows, and does not count any more.
func TestZonesThatHoldMachinesAreGivenUp(t *testing.T) {
	w := newWorld(t, withTeamB)
	s := w.start(-1)
	limits := v1alpha1.NamespaceResources{CPULimitMHz: ptr[int64](4000), MemoryLimit: quantity("8Gi")}
	for name, prepare := range map[string]func() error{
		"team-b": func() error { return s.update("team-b", func(o *v1alpha1.Namespace) { o.Spec.Resources = limits }) },
		"made": func() error {
			object := fresh("made")
			object.Spec.Resources = limits
			return s.create(object)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := prepare(); err != nil {
				t.Fatal(err)
			}
			if name == "made" {
				b := w.builder()
				vm := vcentertest.VM{Name: "own", Folder: "Namespaces/made", Cluster: "cluster-b", Pool: "made",
					GuestID: "ubuntu64Guest", CPUs: 1, MemoryMB: 1024}
				if err := errors.Join(b.In(t.Context(), "DC0"), second(b.VirtualMachine(t.Context(), vm))); err != nil {
					t.Fatal(err)
				}
				s.until("the machine shows", func() bool { return s.get(name).Status.Usage.VirtualMachines == 1 })
			}
			give := func() error {
				return s.update(name, func(o *v1alpha1.Namespace) {
					o.Spec.Zones, o.Spec.Resources = []string{"cluster-a"},
						limits
				})
			}
			if err := give(); err != nil {
				t.Fatal(err)
			}
			got := s.get(name)
			if diff := cmp.Diff(limits, got.Spec.Resources); diff != "" || !cmp.Equal([]string{"cluster-a"}, got.Spec.Zones) {
				t.Errorf("zones %v, resources (-want +got):\n%s", got.Spec.Zones, diff)
			}
			if len(got.Status.Zones) != 2 || got.Status.Zones[0].Leaving || !got.Status.Zones[1].Leaving {
				t.Errorf("zones: %+v", got.Status.Zones)
			}
			if c := readiness(got); c.Status != metav1.ConditionFalse || c.Reason != projection.ReasonZoneInUse ||
				!strings.Contains(c.Message, `zone "cluster-b"`) {
				t.Errorf("condition: %+v", c)
			}
			if diff := cmp.Diff([2]int64{4000, 8192}, w.limits(w.pool("/DC0/host/cluster-a/Resources/"+name))); diff != "" {
				t.Errorf("limits in the zone that stays (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([2]int64{2000, 4096}, w.limits(w.pool("/DC0/host/cluster-b/Resources/"+name))); diff != "" {
				t.Errorf("limits in the zone that is given up (-want +got):\n%s", diff)
			}
			if err := give(); err != nil || s.get(name).ResourceVersion != got.ResourceVersion {
				t.Errorf("asked for again: %v, %s became %s", err, got.ResourceVersion, s.get(name).ResourceVersion)
			}
			if name == "made" {
				w.destroy("/DC0/vm/Namespaces/made/own")
			} else {
				w.destroy("/DC0/vm/Namespaces/team-b/cache-2")
			}
			s.until("nothing is in it any more", func() bool { return readiness(s.get(name)).Status == metav1.ConditionTrue })
			if err := s.backend.Realise(t.Context(), got.UID); err != nil {
				t.Fatal(err)
			}
			if zones := s.get(name).Status.Zones; len(zones) != 1 || zones[0].Name != "cluster-a" {
				t.Errorf("zones at last: %+v", zones)
			}
			if made := len(w.things(name)); made != map[string]int{"made": 2, "team-b": 3}[name] {
				t.Errorf("vCenter at last: %v", w.things(name))
			}
		})
	}
}

// A cluster without DRS can have no resource pools, and nothing is tried in it.
func TestZonesWithoutDRS(t *testing.T) {
	w := newWorld(t, func(ctx context.Context, b *vcentertest.Builder) error {
		return errors.Join(twoClusters(ctx, b), b.DRS(ctx, "cluster-b", false))
	})
	s := w.start(-1)
	object := fresh("both")
	object.Spec.Zones = []string{"cluster-a", "cluster-b"}
	if err := s.create(object); !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "DRS is turned off") {
		t.Errorf("a zone without DRS: %v", err)
	}
	if things := w.things("both"); len(things) > 0 || len(w.records.kept) > 0 {
		t.Errorf("left over: %v, records %v", things, w.records.kept)
	}
	if err := s.create(fresh("all")); err != nil {
		t.Fatal(err)
	}
	got := s.get("all")
	if diff := cmp.Diff(fresh("all").Spec.Resources, got.Spec.Resources); diff != "" ||
		!cmp.Equal([]string{"cluster-a"}, got.Spec.Zones) || got.Status.Phase != v1alpha1.NamespaceRunning {
		t.Errorf("all zones that can have pools: %v, %+v, resources (-want +got):\n%s", got.Spec.Zones, got.Status, diff)
	}
	b := w.builder()
	if err := errors.Join(b.In(t.Context(), "DC0"), b.DRS(t.Context(), "cluster-b", true)); err != nil {
		t.Fatal(err)
	}
	s.until("it can have pools", func() bool {
		return s.update("all", func(o *v1alpha1.Namespace) { o.Spec.Zones = []string{"cluster-a", "cluster-b"} }) == nil
	})
	if diff := cmp.Diff(made("all"), w.things("all")); diff != "" {
		t.Errorf("vCenter (-want +got):\n%s", diff)
	}
}

// Clusters that are not zones get no pools.
func TestZoneClusters(t *testing.T) {
	w := newWorld(t, twoClusters)
	w.zones = []string{"cluster-b"}
	s := w.start(-1)
	if err := s.create(fresh("shop")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made("shop")[1:], w.things("shop")); diff != "" {
		t.Errorf("vCenter (-want +got):\n%s", diff)
	}
	object := fresh("other")
	object.Spec.Zones = []string{"cluster-a"}
	if err := s.create(object); !errors.Is(err, failure.Invalid) ||
		!strings.Contains(err.Error(), "there are: cluster-b") {
		t.Errorf("a cluster that is not a zone: %v", err)
	}
	if zones := s.get("team-a").Status.Zones; len(zones) > 0 {
		t.Errorf("team-a has zones: %+v", zones)
	}
}

// A folder without pools does not say that pools are there.
func TestFoldersWithoutPools(t *testing.T) {
	w := newWorld(t, func(ctx context.Context, b *vcentertest.Builder) error {
		return errors.Join(twoClusters(ctx, b), b.Folder(ctx, "Namespaces/bare"))
	})
	s := w.start(-1)
	if c := readiness(s.get("bare")); c.Status != metav1.ConditionFalse || c.Reason != projection.ReasonNoResourcePool {
		t.Errorf("without pools: %+v", c)
	}
	if err := s.update("bare", func(o *v1alpha1.Namespace) { o.Spec.Resources.CPULimitMHz = ptr[int64](500) }); err != nil {
		t.Fatal(err)
	}
	if c := readiness(s.get("bare")); c.Status != metav1.ConditionTrue || len(w.things("bare")) != 3 {
		t.Errorf("with limits: %+v, vCenter %v", c, w.things("bare"))
	}
}
