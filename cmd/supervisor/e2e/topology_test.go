// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	topologyv1 "github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/generated/clientset/versioned"
	"github.com/openpacific/pacific/pkg/generated/informers/externalversions"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// namespacesByZone reads what `kubectl get availabilityzones -o json` prints: of
// each zone the namespaces in it.
func namespacesByZone(t *testing.T, printed string) map[string]map[string]topologyv1.NamespaceInfo {
	t.Helper()
	var list topologyv1.AvailabilityZoneList
	if err := json.Unmarshal([]byte(printed), &list); err != nil {
		t.Fatalf("%v:\n%s", err, printed)
	}
	zones := map[string]map[string]topologyv1.NamespaceInfo{}
	for _, zone := range list.Items {
		if zone.Spec.ClusterComputeResourceMoID == "" || !slices.Equal(zone.Spec.ClusterComputeResourceMoIDs,
			[]string{zone.Spec.ClusterComputeResourceMoID}) {
			t.Errorf("clusters of %s: %+v", zone.Name, zone.Spec)
		}
		zones[zone.Name] = zone.Spec.Namespaces
	}
	return zones
}

// TestZones reads zones as an administrator and as a developer.
func TestZones(t *testing.T) {
	t.Parallel()
	s := running(t)
	all := namespacesByZone(t, s.Kubectl(t, "get", "availabilityzones", "-o", "json"))
	if diff := cmp.Diff([]string{"cluster-a", "cluster-b"}, slices.Sorted(maps.Keys(all))); diff != "" {
		t.Fatalf("zones (-want +got):\n%s", diff)
	}
	for zone, namespaces := range all {
		for _, name := range []string{"team-a", "team-b"} {
			if info := namespaces[name]; info.PoolMoID == "" || info.FolderMoID == "" ||
				!slices.Equal(info.PoolMoIDs, []string{info.PoolMoID}) {
				t.Errorf("%s in %s: %+v", name, zone, info)
			}
		}
	}
	if out := s.Kubectl(t, "get", "az", "-o", "wide"); !strings.HasPrefix(out,
		"NAME        NAMESPACES   CLUSTERS\ncluster-a   ") {
		t.Errorf("get az:\n%s", out)
	}
	// Read only, and said so to whoever may do everything.
	if out, err := s.Try(t.Context(), "kubectl", "delete", "az", "cluster-a"); err == nil ||
		!strings.Contains(out, "MethodNotAllowed") {
		t.Errorf("delete az: %v\n%s", err, out)
	}

	p := s.Person(t, "dev-a@vsphere.local")
	if out, err := p.Login(t, vcentertest.SamplePassword); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	types := func(arguments ...string) string {
		t.Helper()
		out, err := p.Types(t, "", arguments...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", arguments, err, out)
		}
		return out
	}
	theirs := map[string]map[string]topologyv1.NamespaceInfo{
		"cluster-a": {"team-a": all["cluster-a"]["team-a"]},
		"cluster-b": {"team-a": all["cluster-b"]["team-a"]},
	}
	waittest.Within(t, 30*time.Second, "a developer to see their namespace", func(context.Context) error {
		if diff := cmp.Diff(theirs, namespacesByZone(t, types("get", "availabilityzones", "-o", "json"))); diff != "" {
			return fmt.Errorf("a developer sees (-want +got):\n%s", diff)
		}
		return nil
	})
	if out := types("get", "az", "cluster-a"); out != "NAME        NAMESPACES\ncluster-a   1\n" {
		t.Errorf("get az cluster-a:\n%s", out)
	}

	var zones topologyv1.ZoneList
	if err := json.Unmarshal([]byte(types("get", "zones", "-n", "team-a", "-o", "json")), &zones); err != nil {
		t.Fatal(err)
	}
	want := []topologyv1.ZoneSpec{}
	for _, name := range []string{"cluster-a", "cluster-b"} {
		info := all[name]["team-a"]
		at := topologyv1.VSphereEntityInfo{PoolMoIDs: info.PoolMoIDs, FolderMoID: info.FolderMoID}
		want = append(want, topologyv1.ZoneSpec{Namespace: at, ManagedVMs: at,
			AvailabilityZone: topologyv1.AvailabilityZoneReference{APIVersion: "topology.tanzu.vmware.com/v1alpha1",
				Name: name}})
	}
	got := []topologyv1.ZoneSpec{}
	for _, zone := range zones.Items {
		got = append(got, zone.Spec)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("zones in team-a (-want +got):\n%s", diff)
	}
	for _, arguments := range [][]string{{"get", "zones", "-n", "team-b"}, {"get", "zones", "-A"}} {
		if out, err := p.Types(t, "", arguments...); err == nil || !strings.Contains(out, "Forbidden") {
			t.Errorf("%v: %v\n%s", arguments, err, out)
		}
	}
}

// TestZonesFollowNamespaces keeps an informer on Zones, as Cluster API Provider
// vSphere does, while a vSphere Namespace is made and deleted. The deletion of its
// Kubernetes Namespace does not wait for what cannot be deleted.
func TestZonesFollowNamespaces(t *testing.T) {
	t.Parallel()
	s := running(t)
	const name = "zones-shop"
	informers := externalversions.NewSharedInformerFactoryWithOptions(versioned.NewForConfigOrDie(s.Config(t)), 0,
		externalversions.WithNamespace(name))
	zones := informers.Topology().V1alpha1().Zones()
	all := informers.Topology().V1alpha1().AvailabilityZones()
	for _, informer := range []cache.SharedIndexInformer{zones.Informer(), all.Informer()} {
		go informer.RunWithContext(t.Context())
		if !cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced) {
			t.Fatal("the informer does not sync")
		}
	}
	shown := func() (names []string) {
		for _, object := range zones.Informer().GetStore().List() {
			zone := object.(*topologyv1.Zone)
			names = append(names, zone.Namespace+"/"+zone.Name)
		}
		for _, object := range all.Informer().GetStore().List() {
			if zone := object.(*topologyv1.AvailabilityZone); zone.Spec.Namespaces[name].PoolMoID != "" {
				names = append(names, zone.Name)
			}
		}
		slices.Sort(names)
		return names
	}
	follows := func(what string, want ...string) time.Duration {
		t.Helper()
		return waittest.Within(t, 30*time.Second, what, func(context.Context) error {
			if diff := cmp.Diff(want, shown()); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
	}
	follows("no zones at first")
	manifest := func(zones string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "vns.yaml")
		content := "apiVersion: vsphere.openpacific.io/v1alpha1\nkind: Namespace\nmetadata: {name: " + name +
			"}\nspec: {zones: [" + zones + "]}\n"
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	s.Kubectl(t, "apply", "--server-side", "-f", manifest("cluster-a, cluster-b"))
	t.Logf("made: %s after kubectl", follows("the zones of a new namespace", "cluster-a", "cluster-b", name+"/cluster-a",
		name+"/cluster-b"))
	zone, err := zones.Lister().Zones(name).Get("cluster-b")
	if err != nil {
		t.Fatal(err)
	}
	var namespace metav1.PartialObjectMetadata
	if err := json.Unmarshal([]byte(s.Kubectl(t, "get", "vns", name, "-o", "json")), &namespace); err != nil {
		t.Fatal(err)
	}
	if !zone.CreationTimestamp.Equal(&namespace.CreationTimestamp) || zone.UID == "" {
		t.Errorf("the Zone %+v is not as old as its namespace: %v", zone.ObjectMeta, namespace.CreationTimestamp)
	}

	s.Kubectl(t, "apply", "--server-side", "-f", manifest("cluster-b"))
	t.Logf("a zone less: %s after kubectl", follows("the zones of a namespace with a pool less", "cluster-b",
		name+"/cluster-b"))

	// From the side of Kubernetes, whose controller looks into every resource.
	waittest.Within(t, 30*time.Second, "the Kubernetes Namespace", func(ctx context.Context) error {
		_, err := s.Try(ctx, "kubectl", "get", "namespace", name)
		return err
	})
	began := time.Now()
	s.Kubectl(t, "delete", "namespace", name, "--timeout=60s")
	t.Logf("the Namespace was deleted in %s", time.Since(began))
	follows("no zones of a namespace that was deleted")
}
