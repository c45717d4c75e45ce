// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/registry"
)

// told notes what a mirror is told.
type told struct {
	replaced []map[string]runtime.Object
	applied  [][]livestore.Change
}

func (t *told) Replace(objects map[string]runtime.Object) { t.replaced = append(t.replaced, objects) }

func (t *told) Apply(changes []livestore.Change) { t.applied = append(t.applied, changes) }

func TestTee(t *testing.T) {
	first, second := &told{}, &told{}
	both := registry.Tee(first, second)
	both.Replace(map[string]runtime.Object{"/namespaces/team-a": nil})
	both.Apply([]livestore.Change{{Key: "/namespaces/team-b"}})
	want := told{
		replaced: []map[string]runtime.Object{{"/namespaces/team-a": nil}},
		applied:  [][]livestore.Change{{{Key: "/namespaces/team-b"}}},
	}
	for _, got := range []*told{first, second} {
		if diff := cmp.Diff(want, *got, cmp.AllowUnexported(told{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
