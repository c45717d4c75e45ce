// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// TestSupply: a disk comes from what is kept on the machine's datastore where the library lies on another one, and stands on
// that where it is to be linked. Copies are never made in place of linked disks.
func TestSupply(t *testing.T) {
	const from, kept = "[library] disk-0.vmdk", "[nfs] cache/ disk-0.vmdk"
	full := errors.New("the datastore is full")
	refused := errors.New("vCenter refuses it")
	one := func(from string, linked bool) *facts.Build {
		return &facts.Build{Linked: linked, Disks: []facts.BuildDisk{{From: from, Capacity: 1 << 30}}}
	}
	for name, test := range map[string]struct {
		build    *facts.Build
		change   func(*world)
		from     []string
		finished []facts.Attachment
		doubted  []string
		fails    error
	}{
		"on another datastore": {build: one(from, false), from: []string{kept},
			finished: []facts.Attachment{{File: first, Capacity: 1 << 30, Controller: 1000}}},
		"on the same": {build: one("[nfs] library/disk-0.vmdk", false), from: []string{""},
			finished: []facts.Attachment{{File: first, Capacity: 1 << 30, Controller: 1000}}},
		"linked": {build: one(from, true),
			finished: []facts.Attachment{{File: first, Capacity: 1 << 30, Controller: 1000, Create: true, Parent: kept}}},
		"linked on the same": {build: one("[nfs] library/disk-0.vmdk", true),
			finished: []facts.Attachment{{File: first, Capacity: 1 << 30, Controller: 1000, Create: true,
				Parent: "[nfs] library/disk-0.vmdk"}}},
		"it cannot be kept": {build: one(from, false), fails: full, change: func(w *world) {
			w.keeping = func(context.Context, func(int32)) error { return full }
		}},
		"what was kept is gone": {build: one(from, false), from: []string{kept}, doubted: []string{kept},
			fails: failure.NotFound, change: func(w *world) {
				w.copying = func(context.Context, func(int32)) error { return failure.NotFound }
			}},
		"linked, and refused": {build: one(from, true), doubted: []string{kept}, fails: refused, change: func(w *world) {
			w.finishing = func() error { return refused }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newYard(test.build)
			if test.change != nil {
				test.change(w)
			}
			vm := shell("vm", nil)
			b := hall(t, w, vm)
			_, err := b.sync(t.Context(), vm.Namespace+"/vm")
			if !errors.Is(err, test.fails) {
				t.Errorf("got %v, want %v", err, test.fails)
			}
			if diff := cmp.Diff(test.from, w.from, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("copied (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.finished, w.finished, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("its disks (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.doubted, w.doubted, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("looked for again (-want +got):\n%s", diff)
			}
			if w.kept != 0 {
				t.Errorf("%d are still held", w.kept)
			}
		})
	}
}
