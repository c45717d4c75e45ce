// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
)

// What was made is known for Pacific's when its answer was lost, also when something else went wrong since.
func TestMadeWithoutAnAnswer(t *testing.T) {
	for _, method := range []string{"CreateFolder", "CreateResourcePool"} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t, twoClusters)
			s := w.start(-1)
			denied := &types.NoPermission{PrivilegeId: "Folder.Create"}
			w.vcenter.AddFault(vcentertest.Fault{Method: method, Shape: fault.AnswerLost, Nth: 1})
			w.vcenter.AddFault(vcentertest.Fault{Method: method, Fault: denied, Count: 1})
			if err := s.create(fresh("lost")); err != nil {
				t.Fatal(err)
			}
			s.until("vCenter is there", func() bool { return w.session.Err() == nil })
			if err := s.backend.Realise(t.Context(), "uid-of-lost"); !errors.Is(err, failure.Forbidden) {
				t.Errorf("without the privilege: %v", err)
			}
			if err := s.backend.Realise(t.Context(), "uid-of-lost"); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(made("lost"), w.things("lost")); diff != "" {
				t.Errorf("vCenter (-want +got):\n%s", diff)
			}
			if c := readiness(s.get("lost")); c.Status != metav1.ConditionTrue {
				t.Errorf("condition: %+v", c)
			}
		})
	}
}

// A pool that was made without an answer is known for Pacific's also when somebody has put machines of the namespace
// into it meanwhile, and not when there are others in it, whom its limits would throttle.
func TestInhabitedWithoutAnAnswer(t *testing.T) {
	for name, from := range map[string]string{"of the namespace": "Namespaces/lost", "of others": "Others"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, twoClusters)
			s := w.start(-1)
			w.vcenter.AddFault(vcentertest.Fault{Method: "CreateResourcePool", Shape: fault.AnswerLost, Nth: 1})
			if err := s.create(fresh("lost")); err != nil {
				t.Fatal(err)
			}
			b := w.builder()
			err := errors.Join(b.In(t.Context(), "DC0"), b.Folder(t.Context(), from), second(b.VirtualMachine(t.Context(),
				vcentertest.VM{Name: "early", Folder: from, Cluster: "cluster-a", Pool: "lost", GuestID: "ubuntu64Guest", CPUs: 1,
					MemoryMB: 1024})))
			if err != nil {
				t.Fatal(err)
			}
			pool, own := w.pool("/DC0/host/cluster-a/Resources/lost"), from == "Namespaces/lost"
			before := w.limits(pool)
			s.until("vCenter is there", func() bool { return w.session.Err() == nil })
			switch err := s.backend.Realise(t.Context(), "uid-of-lost"); {
			case own && err != nil:
				t.Error(err)
			case !own && !errors.Is(err, failure.AlreadyExists):
				t.Errorf("with machines of others: %v", err)
			case !own && w.limits(pool) != before:
				t.Errorf("limits: %v", w.limits(pool))
			}
			if c := readiness(s.get("lost")); own != (c.Status == metav1.ConditionTrue) {
				t.Errorf("condition: %+v", c)
			}
		})
	}
}

// A pool that has been written down and that the inventory does not show yet is not taken for somebody else's.
func TestThePoolThatIsWrittenDown(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	object := fresh("slow")
	object.Spec.Zones, object.Spec.Resources = []string{"cluster-a"}, v1alpha1.NamespaceResources{}
	if err := s.create(object); err != nil {
		t.Fatal(err)
	}
	s.stop() // of the inventory
	times := 2
	s.backend.Refresher = blind{s.backend.Refresher, &times, failure.Unavailable}
	both := func(o *v1alpha1.Namespace) { o.Spec.Zones = []string{"cluster-a", "cluster-b"} }
	if err := s.update("slow", both); err != nil {
		t.Fatal(err)
	}
	err := s.backend.Realise(t.Context(), "uid-of-slow")
	if !errors.Is(err, failure.Unavailable) || strings.Contains(err.Error(), "which Pacific did not make") {
		t.Errorf("before the inventory has it: %v", err)
	}
	if diff := cmp.Diff(made("slow"), w.things("slow")); diff != "" {
		t.Errorf("vCenter (-want +got):\n%s", diff)
	}
	next := w.start(-1)
	if err := next.backend.Realise(t.Context(), "uid-of-slow"); err != nil {
		t.Error(err)
	}
	if got := next.get("slow"); got.Status.Phase != v1alpha1.NamespaceRunning || len(got.Status.Zones) != 2 {
		t.Errorf("in the next process: %+v", got.Status)
	}
}
