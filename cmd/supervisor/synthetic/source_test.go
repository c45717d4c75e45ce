// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/runtime"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
)

// recorder is the mirror of a projector.
type recorder struct {
	objects map[string]runtime.Object
	changes chan livestore.Change
}

func (r *recorder) Replace(objects map[string]runtime.Object) { r.objects = objects }

func (r *recorder) Apply(changes []livestore.Change) {
	for _, change := range changes {
		r.changes <- change
	}
}

func TestMachinesAreTheSameEachTime(t *testing.T) {
	var paths []string
	for _, kind := range picture.Kinds(keys()) {
		if kind.Type == facts.TypeMachine {
			paths = kind.Paths
		}
	}
	for _, i := range []int{0, 1, 9_999, 39_999} {
		first, err := machine(i)
		if err != nil {
			t.Fatal(err)
		}
		second, err := machine(i)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("machine %d differs from itself:\n%s", i, diff)
		}
		for path := range first.Properties {
			if !slices.Contains(paths, path) {
				t.Errorf("machine %d has the property %s, which the projection does not ask for", i, path)
			}
		}
	}
}

func TestSourceFeedsTheProjection(t *testing.T) {
	projector := projection.NewProjector(projection.Config{Installation: Installation,
		Clock: testingclock.NewFakePassiveClock(epoch)})
	mirror := &recorder{changes: make(chan livestore.Change, 100)}
	projector.Machines().Attach(registry.Into[vmopv1.VirtualMachine]{Mirror: mirror, Prefix: "/virtualmachines"})
	socket := filepath.Join(t.TempDir(), "s")
	source := &Source{Machines: 60, Handler: &picture.Picture{Followers: []facts.Follower{projector}},
		Clock: testingclock.NewFakePassiveClock(epoch), Socket: socket}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()

	control := NewControl(socket)
	deadline := time.Now().Add(10 * time.Second)
	for err := control.Rename(ctx, 7, 2, "renamed-"); err != nil; err = control.Rename(ctx, 7, 2, "renamed-") {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if !source.Status().Synced {
		t.Error("the source is not synced")
	}
	if len(mirror.objects) != 60 {
		t.Fatalf("%d objects, want 60", len(mirror.objects))
	}
	var names []string
	for range 2 {
		names = append(names, (<-mirror.changes).Object.(*vmopv1.VirtualMachine).Status.Network.HostName)
	}
	if diff := cmp.Diff([]string{"renamed-7", "renamed-8"}, names); diff != "" {
		t.Errorf("host names (-want +got):\n%s", diff)
	}
	encoded, err := json.Marshal(mirror.objects["/virtualmachines/bench-05/vm-00005"])
	if err != nil {
		t.Fatal(err)
	}
	if len(encoded) < 1800 || len(encoded) > 3200 {
		t.Errorf("a machine is %d bytes long, want about 2 KB: %s", len(encoded), encoded)
	}
	if !strings.Contains(string(encoded), `"example.com/note":`) {
		t.Errorf("the record of a machine does not count: %s", encoded)
	}
	if err := control.Rename(ctx, 59, 2, "x"); err == nil {
		t.Error("a machine that does not exist was renamed")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}
