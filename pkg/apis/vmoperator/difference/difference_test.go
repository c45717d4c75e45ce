// SPDX-License-Identifier: Apache-2.0

package difference

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/randfill"
)

// Whatever differs is found, wherever it lies, and what is found lies in the spec.
func TestBetweenAnySpecs(t *testing.T) {
	for seed := range int64(300) {
		fill := randfill.NewWithSeed(seed).NilChance(0.3).NumElements(0, 3).MaxDepth(12)
		var a, b v1alpha5.VirtualMachineSpec
		fill.Fill(&a)
		fill.Fill(&b)
		if seed%3 == 0 {
			b = *a.DeepCopy()
		}
		paths := Between(field.NewPath("spec"), a, b)
		if equal := equality.Semantic.DeepEqual(a, b); equal != (len(paths) == 0) {
			t.Fatalf("seed %d: equal is %t, and the differences are %v", seed, equal, paths)
		}
		for _, path := range paths {
			if !strings.HasPrefix(path.String(), "spec.") || strings.Contains(path.String(), "..") {
				t.Fatalf("seed %d: %q is no path into a spec", seed, path)
			}
		}
	}
}

func TestBetweenMaps(t *testing.T) {
	var got []string
	for _, path := range Between(field.NewPath("labels"), map[string]string{"a": "1", "b": "2", "c": "3"},
		map[string]string{"b": "2", "c": "4", "d": "5"}) {
		got = append(got, path.String())
	}
	if diff := cmp.Diff([]string{"labels[a]", "labels[c]", "labels[d]"}, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

// A spec's structs are walked by reflection, which panics at an unexported field.
func TestSpecHasExportedFieldsOnly(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var visit func(path string, kind reflect.Type)
	visit = func(path string, kind reflect.Type) {
		switch kind.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(path, kind.Elem())
		case reflect.Struct:
			if seen[kind] || !ours(kind) {
				return
			}
			seen[kind] = true
			for i := range kind.NumField() {
				field := kind.Field(i)
				if !field.IsExported() {
					t.Errorf("%s.%s is not exported", path, field.Name)
				}
				visit(fmt.Sprintf("%s.%s", path, field.Name), field.Type)
			}
		}
	}
	visit("spec", reflect.TypeFor[v1alpha5.VirtualMachineSpec]())
}
