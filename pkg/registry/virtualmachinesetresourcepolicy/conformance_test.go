// SPDX-License-Identifier: Apache-2.0

package virtualmachinesetresourcepolicy_test

import (
	"context"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
	"github.com/openpacific/pacific/pkg/registry/virtualmachinesetresourcepolicy"
)

func TestMain(m *testing.M) {
	kindtest.UseLiveStores()
	os.Exit(m.Run())
}

// etcd is where a test's policies are kept.
func etcd(t *testing.T) *registry.Objects {
	t.Helper()
	embedded, err := ledger.Embed(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := embedded.Close(); err != nil {
			t.Error(err)
		}
	})
	return &registry.Objects{Client: embedded.Client(), Prefix: "/pacific/objects", Leads: func() error { return nil }}
}

func policy(namespace, name string) *v1alpha5.VirtualMachineSetResourcePolicy {
	policy := &v1alpha5.VirtualMachineSetResourcePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	policy.Spec.Folder, policy.Spec.ResourcePool.Name = name, name
	policy.Spec.ClusterModuleGroups = []string{"control-plane-group", name + "-workers-0"}
	return policy
}

func TestConformance(t *testing.T) {
	kindtest.Run(t, kindtest.Suite[v1alpha5.VirtualMachineSetResourcePolicy, v1alpha5.VirtualMachineSetResourcePolicyList]{
		Install: install.Install,
		Kind:    virtualmachinesetresourcepolicy.Kind,
		Objects: etcd,
		Object:  policy,
		Creates: true,
	})
}

// Only this process says what there is, and says nothing else by that.
func TestReport(t *testing.T) {
	frame := kindtest.NewFrame(install.Install, clock.RealClock{})
	frame.Objects = etcd(t)
	served, err := registry.ServeDeclared(frame, virtualmachinesetresourcepolicy.Kind())
	if err != nil {
		t.Fatal(err)
	}
	kindtest.Serve(t, frame, served)
	inside := served.Inside()
	if _, err := inside.Create(t.Context(), policy("team-a", "cluster")); err != nil {
		t.Fatal(err)
	}
	before, err := inside.Get(t.Context(), "team-a", "cluster")
	if err != nil {
		t.Fatal(err)
	}
	pools := []v1alpha5.ResourcePoolStatus{{ClusterMoID: "c", ChildResourcePoolMoID: "p"}}
	change := func(p *v1alpha5.VirtualMachineSetResourcePolicy) {
		p.Spec.Folder, p.Labels = "another", map[string]string{"a": "b"}
		p.Status.ResourcePools = pools
	}
	if err := inside.Report(t.Context(), "team-a", "cluster", before.UID, change); err != nil {
		t.Fatal(err)
	}
	if err := inside.Report(t.Context(), "team-a", "cluster", "another", change); err == nil {
		t.Error("of another object it is said too")
	}
	if err := inside.Report(t.Context(), "team-a", "gone", before.UID, change); err != nil {
		t.Errorf("of one that is gone: %v", err)
	}
	after, err := inside.Get(t.Context(), "team-a", "cluster")
	if err != nil {
		t.Fatal(err)
	}
	want := before.DeepCopy()
	want.Status.ResourcePools, want.ResourceVersion = pools, after.ResourceVersion
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
