// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

func fullMetadata() *Metadata {
	return &Metadata{
		Head: facts.Head{
			Installation: "here", UID: "50230000-0000-0000-0000-000000000001", Sequence: 7, Created: true,
			Namespace: "team-a", Name: "web", Folder: facts.ID{VCenter: "vc", Type: "Folder", Value: "group-v1"},
			Deletion: time.Unix(1_700_000_000, 0).UTC(), Paused: true, ReclaimPolicy: "Retain",
		},
		Body: Body{
			Generation: 3,
			Labels:     map[string]string{"b": "2", "a": "1", "c": "3"},
			Annotations: map[string]string{"note": "ünï\ncode", vmopv1.PauseAnnotation: "",
				vsphere.ReclaimPolicyAnnotation: "Retain"},
			Finalizers:      []string{"example.com/x"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "o", UID: "u"}},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl", Operation: "Apply",
				APIVersion: "vmoperator.vmware.com/v1alpha5",
				FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:powerState":{}}}`)}},
			DeletionGracePeriodSeconds: ptr.To[int64](0),
			Spec: vmopv1.VirtualMachineSpec{PowerState: vmopv1.VirtualMachinePowerStateOff,
				PowerOffMode: vmopv1.VirtualMachinePowerOpModeHard},
		},
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	want := fullMetadata()
	value, err := encode(want)
	if err != nil {
		t.Fatal(err)
	}
	again, err := encode(fullMetadata())
	if err != nil || again != value {
		t.Errorf("a second encoding differs (%v):\n%s\n%s", err, value, again)
	}
	got, err := decode(value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTheHeadRepeatsTheAnnotations: who acts in vCenter reads the head alone.
func TestTheHeadRepeatsTheAnnotations(t *testing.T) {
	m := fullMetadata()
	m.Annotations = map[string]string{vsphere.ReclaimPolicyAnnotation: "Delete"}
	value, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if record := keys().Decode(value); record.Err != nil || record.Head.Paused || record.Head.ReclaimPolicy != "Delete" {
		t.Errorf("the record is %+v", record)
	}
}

func TestMetadataTooLarge(t *testing.T) {
	m := fullMetadata()
	m.Annotations["big"] = strings.Repeat("a", 1<<20)
	if _, err := encode(m); !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error %v", err)
	}
}

func TestMalformedMetadata(t *testing.T) {
	for name, test := range map[string]struct{ name, body, want string }{
		"not JSON":     {"n", "hello", "parse"},
		"wrong types":  {"n", `{"labels":[1]}`, "parse"},
		"invalid name": {"Not Valid", `{}`, "not valid"},
	} {
		if m, err := Decode(facts.Head{UID: "u", Name: test.name}, []byte(test.body)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %+v, error %v, want an error with %q", name, m, err, test.want)
		}
	}
}

func FuzzDecodeMetadata(f *testing.F) {
	good, err := fullMetadata().encodeBody()
	if err != nil {
		f.Fatal(err)
	}
	for _, body := range []string{string(good), `{"spec":{"powerState":"PoweredOn"}}`, "{", ""} {
		f.Add("web", []byte(body))
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		m, err := Decode(facts.Head{UID: "u", Name: name}, body)
		if err != nil {
			return
		}
		again, err := encode(m)
		if err != nil { // too large
			return
		}
		back, err := decode(again)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		third, err := encode(back)
		if err != nil || third != again {
			t.Fatalf("not stable (%v):\n%s\n%s", err, again, third)
		}
	})
}
