// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/realisation"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
	"github.com/openpacific/pacific/pkg/vcenter/storagepolicy"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// withPolicies is an inventory in which two of three machines have a policy.
func withPolicies(ctx context.Context, b *vcentertest.Builder) error {
	machine := func(name, folder, policy string, disks ...string) error {
		return second(b.VirtualMachine(ctx, vcentertest.VM{Name: name, Folder: folder, Cluster: "cluster-a", DisksGB: []int64{1, 1},
			StoragePolicy: policy, DiskPolicies: disks}))
	}
	return errors.Join(
		b.Datacenter(ctx, "DC0"),
		b.Cluster(ctx, "cluster-a", "esx-a1.lab.pacific.test"),
		b.Datastore(ctx, "datastore-1"),
		b.Folder(ctx, "Namespaces/team-a"),
		b.StoragePolicy(ctx, "Gold", ""),
		b.StoragePolicy(ctx, "Bronze", ""),
		machine("none", "Namespaces/team-a", ""),
		machine("gold", "Namespaces/team-a", "Gold", "Gold"),
		machine("both", "Namespaces/team-a", "Gold", "Gold", "Bronze"),
		machine("elsewhere", "", "Gold"),
	)
}

// follow has the storage policies of vCenter followed.
func (s *server) follow() *storagepolicy.Catalogue {
	catalogue := &storagepolicy.Catalogue{Session: s.session, Handler: s.projector, Interval: 20 * time.Millisecond, Logger: klog.Background()}
	s.backend.StoragePolicies = catalogue
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = catalogue.Run(ctx) })
	s.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return catalogue
}

func (w *world) policies() *pbm.Client {
	w.t.Helper()
	client, err := pbm.NewClient(w.t.Context(), w.builder().Client.Client)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

func TestStoragePolicyIsGiven(t *testing.T) {
	w := newWorld(t, withPolicies)
	s := w.start(-1)
	object := fresh("team-c")
	object.Spec.StoragePolicies = []v1alpha1.NamespaceStoragePolicy{{Name: "Gold"}}
	s.backend.StoragePolicies = &storagepolicy.Catalogue{}
	if err := s.create(object); !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), "have not been read yet") {
		t.Errorf("before they are read: %v", err)
	}
	catalogue := s.follow()
	s.until("the policies are read", func() bool { _, read := catalogue.Policies(); return read })
	object.Spec.StoragePolicies[0].Name = "Silver"
	const want = `spec.storagePolicies: there is no storage policy "Silver"; there are: Bronze, Gold, Host-local PMem Default Storage Policy, ` +
		`VM Encryption Policy, VVol No Requirements Policy, vSAN Default Storage Policy`
	if err := s.create(object); !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("one that is not there: %v", err)
	}
	object.Spec.StoragePolicies[0].Name = "Bronze"
	if err := s.create(object); err != nil {
		t.Fatal(err)
	}
	if err := s.update("team-a", func(o *v1alpha1.Namespace) {
		o.Spec.StoragePolicies = []v1alpha1.NamespaceStoragePolicy{{Name: "Silver"}}
	}); !errors.Is(err, failure.Invalid) {
		t.Errorf("one that is not there, later: %v", err)
	}

	// One that vanishes takes nothing else with it.
	message := func() string { return s.get("team-c").Status.Conditions[0].Message }
	if message() != "Folder and resource pools are there." {
		t.Errorf("the condition says %q", message())
	}
	policies := w.policies()
	id, err := policies.ProfileIDByName(t.Context(), "Bronze")
	if err != nil {
		t.Fatal(err)
	}
	rename := func(name string) {
		t.Helper()
		if err := policies.UpdateProfile(t.Context(), pbmtypes.PbmProfileId{UniqueId: id}, pbmtypes.PbmCapabilityProfileUpdateSpec{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	rename("Copper")
	s.until("the condition says so", func() bool { return strings.Contains(message(), `does not have the storage policy "Bronze"`) })
	if ready := s.get("team-c").Status.Conditions[0].Status; ready != "True" {
		t.Errorf("it is ready: %s", ready)
	}
	if err := s.update("team-c", func(o *v1alpha1.Namespace) {
		o.Spec.StoragePolicies = append(o.Spec.StoragePolicies, v1alpha1.NamespaceStoragePolicy{Name: "Gold", Limit: quantity("1Gi")})
	}); err != nil {
		t.Errorf("written with one that has vanished: %v", err)
	}
	rename("Bronze")
	s.until("it is back", func() bool { return message() == "Folder and resource pools are there." })
}

func TestStorageByPolicy(t *testing.T) {
	w := newWorld(t, withPolicies)
	s := w.start(-1)
	used := func() map[string]string {
		usage := map[string]string{}
		for _, part := range s.get("team-a").Status.Usage.Storage {
			usage[part.Policy] = part.Used.String()
		}
		return usage
	}
	all := used()
	if diff := cmp.Diff(map[string]string{"": all[""]}, all); diff != "" {
		t.Errorf("before the policies are read (-want +got):\n%s", diff)
	}
	s.follow()
	s.until("the first answer shows at once", func() bool {
		u := used()
		return len(u) == 3 && u[""] != "" && u["Gold"] != "" && u["Bronze"] != ""
	})

	// A name shows at once, a machine of another policy at the next look.
	policies := w.policies()
	id, err := policies.ProfileIDByName(t.Context(), "Gold")
	if err != nil {
		t.Fatal(err)
	}
	if err := policies.UpdateProfile(t.Context(), pbmtypes.PbmProfileId{UniqueId: id}, pbmtypes.PbmCapabilityProfileUpdateSpec{Name: "Platinum"}); err != nil {
		t.Fatal(err)
	}
	s.until("the new name shows", func() bool { u := used(); return len(u) == 3 && u["Platinum"] != "" })
}

// What is counted, to the byte: everything under the home's policy, but for disks
// of another one.
func TestStorageIsSplit(t *testing.T) {
	const unit = 64 << 20
	ref := func(kind, id string) types.ManagedObjectReference {
		return types.ManagedObjectReference{Type: kind, Value: id}
	}
	object := func(kind, id string, properties map[string]any) inventory.Object {
		return inventory.Object{Ref: ref(kind, id), Properties: properties}
	}
	machine := func(id string, committed int64) inventory.Object {
		return object("VirtualMachine", id, map[string]any{"name": id, "parent": ref("Folder", "group-v2"), "summary.storage.committed": committed})
	}
	shown := &projected.Objects[v1alpha1.Namespace]{}
	p := realisation.NewProjector(realisation.Config{Logger: klog.Background(), Shown: shown})
	feed := &picture.Picture{Followers: []facts.Follower{p}}
	update := inventory.Update{
		Initial: true, NamespacesFolder: ref("Folder", "group-v1"),
		Changed: []inventory.Object{
			object("Folder", "group-v1", map[string]any{"name": "Namespaces"}),
			object("Folder", "group-v2", map[string]any{"name": "team-a", "parent": ref("Folder", "group-v1")}),
			machine("vm-1", 100*unit), machine("vm-2", 10*unit), machine("vm-3", 3*unit), machine("vm-4", 5*unit),
		},
	}
	feed.Apply(update)
	shows := func(what string, want map[string]int64) {
		t.Helper()
		got := map[string]int64{}
		for _, part := range shown.Get("team-a").Status.Usage.Storage {
			got[part.Policy] = part.Used.Value() / unit
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, in units of 64Mi (-want +got):\n%s", what, diff)
		}
	}
	shows("without policies", map[string]int64{"": 118})
	answer := facts.StoragePolicies{
		Policies: []facts.StoragePolicy{{ID: "b", Name: "Bronze"}, {ID: "g", Name: "Gold"}},
		Machines: map[string]facts.MachinePolicies{
			"vm-1": {Home: "g", Disks: []facts.DiskPolicy{{Key: 2000, Policy: "g"}, {Key: 2001, Policy: "b", Space: 30 * unit}, {Key: 2002, Policy: "b", Space: unit - 1}}},
			"vm-2": {Disks: []facts.DiskPolicy{{Key: 2000, Policy: "b", Space: 4 * unit}}},
			"vm-3": {Home: "b", Disks: []facts.DiskPolicy{{Key: 2000, Policy: "g", Space: 9 * unit}}}, // more than the machine takes
			"vm-4": {Home: "unknown"},
			"vm-9": {Home: "g"},
		},
	}
	p.SetStoragePolicies(answer)
	shows("by policy", map[string]int64{"": 6 + 5, "Bronze": 30 + 1 + 4, "Gold": 69 + 1 + 3})

	moved := answer
	moved.Machines = map[string]facts.MachinePolicies{"vm-1": {Home: "b"}}
	p.SetStoragePolicies(moved)
	shows("before the next look", map[string]int64{"": 6 + 5, "Bronze": 30 + 1 + 4, "Gold": 69 + 1 + 3})
	p.Look()
	shows("after it", map[string]int64{"": 18, "Bronze": 100})

	moved.Policies = []facts.StoragePolicy{{ID: "b", Name: "Silver"}}
	p.SetStoragePolicies(moved)
	shows("renamed", map[string]int64{"": 18, "Silver": 100})
	feed.Apply(inventory.Update{NamespacesFolder: ref("Folder", "group-v1"), Removed: []types.ManagedObjectReference{ref("VirtualMachine", "vm-1")}})
	shows("removed", map[string]int64{"": 18})
}
