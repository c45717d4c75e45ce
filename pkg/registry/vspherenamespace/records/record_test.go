// SPDX-License-Identifier: Apache-2.0

package records

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
)

// A record that can be read is written and read again as the same; everything
// else is refused without a panic.
func FuzzDecode(f *testing.F) {
	folder := facts.ID{VCenter: "vc", Type: facts.TypeFolder, Value: "group-v1"}
	record := &Record{
		Version: 2, Metadata: metav1.ObjectMeta{Name: "team-a", UID: "u", Labels: map[string]string{"a": "b"}},
		Spec: v1alpha1.NamespaceSpec{Description: "d",
			Access: []v1alpha1.NamespaceAccess{{Kind: "User", Name: "a@b", Role: "View"}}}, Zones: []string{"cluster-a"},
		Resources: &v1alpha1.NamespaceResources{MemoryLimit: mebibytes(5)}, Folder: folder,
		Pools: map[string]facts.ID{"cluster-a": {VCenter: "vc", Type: facts.TypePool, Value: "resgroup-1"}},
		Kept:  []facts.ID{folder},
		Seen: map[facts.ID]Sight{folder: {Name: "team-a", Parent: facts.ID{VCenter: "vc", Type: facts.TypeFolder,
			Value: "group-v0"}}},
	}
	data, err := record.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":2,"metadata":{"name":"x","uid":"y","deletionTimestamp":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":2,"metadata":{"name":"x","uid":"y"},"resources":{"memoryLimit":"-1e99"}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		record, err := Decode(data)
		if err != nil {
			return
		}
		first, err := record.Encode()
		if err != nil {
			return // not every value that can be read can be written, such as a time in the year 20000
		}
		again, err := Decode(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		second, err := again.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(first), string(second)); diff != "" {
			t.Errorf("written twice (-first +second):\n%s", diff)
		}
	})
}

func TestSharesAddUp(t *testing.T) {
	for _, zones := range []int{1, 2, 3, 7} {
		resources := v1alpha1.NamespaceResources{CPULimitMHz: new(int64), MemoryLimit: mebibytes(1000)}
		*resources.CPULimitMHz = 10_001
		var pools []Portion
		for i := range zones {
			pools = append(pools, portionOf(resources, i, zones))
		}
		if diff := cmp.Diff(resources, Sum(pools)); diff != "" {
			t.Errorf("%d zones (-want +got):\n%s", zones, diff)
		}
	}
}
