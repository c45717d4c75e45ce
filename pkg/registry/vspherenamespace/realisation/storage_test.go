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
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/storagepolicy"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// withPolicies is an inventory in which two of three machines have a policy.
func withPolicies(ctx context.Context, b *vcentertest.Builder) error {
	machine := func(name, folder, policy string, disks ...string) error {
		return second(b.VirtualMachine(ctx, vcentertest.VM{Name: name, Folder: folder, Cluster: "cluster-a",
			DisksGB:       []int64{1, 1},
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
	catalogue := &storagepolicy.Catalogue{Session: s.session, Handler: s.projector, Interval: 20 * time.Millisecond,
		Logger: klog.Background()}
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
	if err := s.create(object); !errors.Is(err, failure.Unavailable) ||
		!strings.Contains(err.Error(), "have not been read yet") {
		t.Errorf("before they are read: %v", err)
	}
	catalogue := s.follow()
	s.until("the policies are read", func() bool { _, read := catalogue.Policies(); return read })
	object.Spec.StoragePolicies[0].Name = "Silver"
	const want = `spec.storagePolicies: there is no storage policy "Silver"; there are: Bronze, Gold, Host-local PMem ` +
		`Default Storage Policy, ` +
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
		if err := policies.UpdateProfile(t.Context(), pbmtypes.PbmProfileId{UniqueId: id},
			pbmtypes.PbmCapabilityProfileUpdateSpec{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	rename("Copper")
	s.until("the condition says so",
		func() bool { return strings.Contains(message(), `does not have the storage policy "Bronze"`) })
	if ready := s.get("team-c").Status.Conditions[0].Status; ready != "True" {
		t.Errorf("it is ready: %s", ready)
	}
	if err := s.update("team-c", func(o *v1alpha1.Namespace) {
		o.Spec.StoragePolicies = append(o.Spec.StoragePolicies, v1alpha1.NamespaceStoragePolicy{Name: "Gold",
			Limit: quantity("1Gi")})
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
	if err := policies.UpdateProfile(t.Context(), pbmtypes.PbmProfileId{UniqueId: id},
		pbmtypes.PbmCapabilityProfileUpdateSpec{Name: "Platinum"}); err != nil {
		t.Fatal(err)
	}
	s.until("the new name shows", func() bool { u := used(); return len(u) == 3 && u["Platinum"] != "" })
}
