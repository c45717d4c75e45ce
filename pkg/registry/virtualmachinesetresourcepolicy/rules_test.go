// SPDX-License-Identifier: Apache-2.0

package virtualmachinesetresourcepolicy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha1"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/registry/virtualmachinesetresourcepolicy"
)

func TestRules(t *testing.T) {
	type spec = v1alpha5.VirtualMachineSetResourcePolicySpec
	amount := func(cpu, memory string) v1alpha5.VirtualMachineResourceSpec {
		return v1alpha5.VirtualMachineResourceSpec{Cpu: resource.MustParse(cpu), Memory: resource.MustParse(memory)}
	}
	for name, test := range map[string]struct {
		change func(*spec)
		want   []string
	}{
		"as it is":      {change: func(*spec) {}},
		"nothing asked": {change: func(s *spec) { *s = spec{} }},
		"reserved all": {change: func(s *spec) {
			s.ResourcePool.Reservations, s.ResourcePool.Limits = amount("2", "4Gi"), amount("2", "4Gi")
		}},
		"reserved without a limit": {change: func(s *spec) { s.ResourcePool.Reservations = amount("2", "4Gi") }},
		"reserved too much": {change: func(s *spec) {
			s.ResourcePool.Reservations, s.ResourcePool.Limits = amount("2", "4Gi"), amount("1500m", "3Gi")
		}, want: []string{"spec.resourcePool.reservations.cpu", "spec.resourcePool.reservations.memory"}},
		"negative": {change: func(s *spec) { s.ResourcePool.Limits = amount("-1", "0") }, want: []string{"spec.resourcePool.limits.cpu"}},
		"of no pool": {change: func(s *spec) { s.ResourcePool.Name, s.ResourcePool.Limits = "", amount("0", "1Gi") },
			want: []string{"spec.resourcePool.limits.memory"}},
		"a group twice": {change: func(s *spec) { s.ClusterModuleGroups = []string{"a", "b", "a"} }, want: []string{"spec.clusterModuleGroups[2]"}},
		"groups without end": {change: func(s *spec) {
			for i := range 65 {
				s.ClusterModuleGroups = append(s.ClusterModuleGroups, fmt.Sprint("group-", i))
			}
		}, want: []string{"spec.clusterModuleGroups"}},
		"a group without name":  {change: func(s *spec) { s.ClusterModuleGroups = []string{""} }, want: []string{"spec.clusterModuleGroups[0]"}},
		"a path for a folder":   {change: func(s *spec) { s.Folder = "a/b" }, want: []string{"spec.folder"}},
		"a name that is longer": {change: func(s *spec) { s.ResourcePool.Name = strings.Repeat("x", 81) }, want: []string{"spec.resourcePool.name"}},
	} {
		t.Run(name, func(t *testing.T) {
			object := policy("team-a", "cluster")
			test.change(&object.Spec)
			errs := virtualmachinesetresourcepolicy.Kind().Rules.Validate(t.Context(), object)
			if diff := cmp.Diff(test.want, paths(errs)); diff != "" {
				t.Errorf("refused (-want +got):\n%s\n%v", diff, errs)
			}
		})
	}
}

func paths(errs field.ErrorList) []string {
	var paths []string
	for _, err := range errs {
		paths = append(paths, err.Field)
	}
	return paths
}

// Machines stand on what was asked for.
func TestImmutable(t *testing.T) {
	before := policy("team-a", "cluster")
	before.ResourceVersion = "1"
	after := before.DeepCopy()
	after.Labels = map[string]string{"a": "b"}
	rules := virtualmachinesetresourcepolicy.Kind().Rules
	if errs := rules.ValidateUpdate(t.Context(), after, before); len(errs) > 0 {
		t.Errorf("a label is refused: %v", errs)
	}
	after.Spec.Folder, after.Spec.ResourcePool.Name = "other", "other"
	after.Spec.ClusterModuleGroups = nil
	want := []string{"spec.resourcePool", "spec.folder", "spec.clusterModuleGroups"}
	if diff := cmp.Diff(want, paths(rules.ValidateUpdate(t.Context(), after, before))); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

// The oldest version says the same in other words.
func TestVersions(t *testing.T) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	want := policy("team-a", "cluster")
	want.Status.ClusterModules = []v1alpha5.VSphereClusterModuleStatus{{GroupName: "control-plane-group", ModuleUuid: "m", ClusterMoID: "c"}}
	for _, version := range install.Versions()[1:] {
		older, err := scheme.UnsafeConvertToVersion(want, version)
		if err != nil {
			t.Fatal(err)
		}
		if oldest, is := older.(*v1alpha1.VirtualMachineSetResourcePolicy); is && oldest.Spec.ClusterModules[1].GroupName != "cluster-workers-0" {
			t.Errorf("at v1alpha1 %+v", oldest.Spec)
		}
		back, err := scheme.UnsafeConvertToVersion(older, runtime.InternalGroupVersioner)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Spec, back.(*v1alpha5.VirtualMachineSetResourcePolicy).Spec); diff != "" {
			t.Errorf("%s and back (-want +got):\n%s", version, diff)
		}
	}
}
