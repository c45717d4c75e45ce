// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

func quantity(s string) *resource.Quantity {
	q := resource.MustParse(s)
	return &q
}

func TestValidation(t *testing.T) {
	minus, five, six := int64(-1), int64(5), int64(6)
	for _, test := range []struct {
		what   string
		change func(*v1alpha1.Namespace)
		want   []string
	}{
		{"all is well", func(n *v1alpha1.Namespace) {
			n.Spec.Resources = v1alpha1.NamespaceResources{CPULimitMHz: &six, CPUReservationMHz: &five,
				MemoryLimit: quantity("8Gi"), MemoryReservation: quantity("512Mi")}
			n.Spec.Folder, n.Spec.ResourcePools = "group-v12", []string{"resgroup-12"}
			n.Spec.Access = []v1alpha1.NamespaceAccess{gives("Group", `a/b (50%) @ "x": ü@corp.example.com`, "View"),
				gives("User", "a@b", "Owner")}
		}, nil},
		{"a reserved name", func(n *v1alpha1.Namespace) { n.Name = "kube-public" }, []string{"metadata.name"}},
		{"a reserved name", func(n *v1alpha1.Namespace) { n.Name = "vmware-system-x" }, []string{"metadata.name"}},
		{"a name with dots", func(n *v1alpha1.Namespace) { n.Name = "a.b" }, []string{"metadata.name"}},
		{"a long name", func(n *v1alpha1.Namespace) { n.Name = strings.Repeat("a", 64) }, []string{"metadata.name"}},
		{"a folder by name", func(n *v1alpha1.Namespace) { n.Spec.Folder = "../team-b" }, []string{"spec.folder"}},
		{"pools by name, and twice", func(n *v1alpha1.Namespace) {
			n.Spec.ResourcePools = []string{"prod", "resgroup-1",
				"resgroup-1"}
		},
			[]string{"spec.resourcePools[0]", "spec.resourcePools[2]"}},
		{"negative amounts", func(n *v1alpha1.Namespace) {
			n.Spec.Resources = v1alpha1.NamespaceResources{CPULimitMHz: &minus, CPUReservationMHz: &minus,
				MemoryLimit: quantity("-1Gi")}
		}, []string{"spec.resources.cpuLimitMHz", "spec.resources.cpuReservationMHz", "spec.resources.memoryLimit"}},
		{"half a mebibyte", func(n *v1alpha1.Namespace) { n.Spec.Resources.MemoryLimit = quantity("512Ki") },
			[]string{"spec.resources.memoryLimit"}},
		{"too much for a number", func(n *v1alpha1.Namespace) { n.Spec.Resources.MemoryLimit = quantity("1e30") },
			[]string{"spec.resources.memoryLimit"}},
		{"more kept than allowed", func(n *v1alpha1.Namespace) {
			n.Spec.Resources = v1alpha1.NamespaceResources{CPULimitMHz: &five, CPUReservationMHz: &six,
				MemoryLimit: quantity("1Gi"), MemoryReservation: quantity("2Gi")}
		}, []string{"spec.resources.cpuReservationMHz", "spec.resources.memoryReservation"}},
		{"names twice or empty", func(n *v1alpha1.Namespace) {
			n.Spec.Zones, n.Spec.Networks = []string{"a", "a"}, []string{""}
			n.Spec.StoragePolicies = []v1alpha1.NamespaceStoragePolicy{{Name: "x"}, {Name: "x", Limit: quantity("1k")}}
		}, []string{"spec.zones[1]", "spec.networks[0]", "spec.storagePolicies[1].limit", "spec.storagePolicies[1]"}},
		{"subjects", func(n *v1alpha1.Namespace) {
			n.Spec.Access = []v1alpha1.NamespaceAccess{
				gives("User", "dev", "View"), gives("User", "@vsphere.local", "View"), gives("User", "dev@", "View"),
				gives("User", "dev@vsphere local", "View"),
				gives("User", "de\nv@vsphere.local", "View"), gives("User", " dev@vsphere.local", "View"),
				gives("User", "x@"+strings.Repeat("a", 300), "View"),
				gives("ServiceAccount", "a@b", "View"), gives("User", "c@d", "cluster-admin"), gives("User", "e@f", "View"),
				gives("User", "e@f", "Owner"),
				gives("User", "\xff@vsphere.local", "View"), gives("User", "a\u202eb@vsphere.local", "View"),
			}
		}, []string{"spec.access[0].name", "spec.access[1].name", "spec.access[2].name", "spec.access[3].name",
			"spec.access[4].name", "spec.access[5].name",
			"spec.access[6].name", "spec.access[7].kind", "spec.access[8].role", "spec.access[10]", "spec.access[11].name",
			"spec.access[12].name"}},
	} {
		object := namespace("team-a")
		test.change(object)
		var got []string
		for _, err := range validate(t.Context(), object) {
			got = append(got, err.Field)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.what, diff)
		}
	}
	before, after := namespace("team-a"), namespace("team-a")
	after.ResourceVersion, before.ResourceVersion, after.Spec.Folder = "1", "1", "group-v1"
	if errs := validateUpdate(t.Context(), after, before); len(errs) != 1 || errs[0].Field != "spec.folder" {
		t.Errorf("another folder: %v", errs)
	}
	before, after = namespace("team-a"), namespace("team-a")
	after.ResourceVersion, before.ResourceVersion = "1", "1"
	before.Spec.ResourcePools, after.Spec.ResourcePools = []string{"resgroup-1"}, []string{"resgroup-2"}
	if errs := validateUpdate(t.Context(), after, before); len(errs) != 1 || errs[0].Field != "spec.resourcePools" {
		t.Errorf("a pool taken out: %v", errs)
	}
}

func TestTable(t *testing.T) {
	limit := int64(10_000)
	object := namespace("team-a")
	object.Spec.Zones, object.Spec.Description = []string{"cluster-a", "cluster-b"}, "shop"
	object.Spec.Resources = v1alpha1.NamespaceResources{CPULimitMHz: &limit, MemoryLimit: quantity("8Gi")}
	object.Spec.StoragePolicies = []v1alpha1.NamespaceStoragePolicy{{Name: "gold", Limit: quantity("1Ti")}}
	object.Status = v1alpha1.NamespaceStatus{Phase: v1alpha1.NamespaceRunning, Usage: v1alpha1.NamespaceUsage{
		CPUMHz: 120, Memory: quantity("1Gi"), VirtualMachines: 5, PoweredOn: 2,
		Storage: []v1alpha1.NamespaceStorageUsage{{Used: *quantity("20Gi")}}}}
	bare := namespace("team-b")
	bare.CreationTimestamp.Reset()
	convertor := Kind(Asked{Clock: clock.RealClock{}}).Printer(testingclock.NewFakePassiveClock(created.Add(50 * time.Hour)))
	table, err := convertor.ConvertToTable(t.Context(),
		&v1alpha1.NamespaceList{Items: []v1alpha1.Namespace{*object, *bare}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got [][]any
	for _, row := range table.Rows {
		got = append(got, row.Cells)
	}
	want := [][]any{
		{"team-a", "Running", "cluster-a,cluster-b", "120MHz/10000MHz", "1Gi/8Gi", "2/5", "2d2h", "20Gi/1Ti", "shop"},
		{"team-b", "", "cluster-a", "0MHz/-", "0/-", "0/0", "<unknown>", "0/-", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if len(table.ColumnDefinitions) != len(want[0]) {
		t.Errorf("%d columns, want %d", len(table.ColumnDefinitions), len(want[0]))
	}
}
