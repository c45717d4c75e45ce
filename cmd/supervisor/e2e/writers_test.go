// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apitypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	apiWriters = 50
	// writeRounds is how often each of them writes; ROUNDS says otherwise.
	writeRounds = 4
)

// TestManyWriters has fifty clients and a VI admin change one machine at the same time, round after round. Each write is
// kept, or answered with 409: none is lost, and nobody is told that vCenter is busy with somebody else's.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("writers")
	vm := a.Create(namespace, "shared", supervisortest.PoweredOff)
	s.Serves(t, namespace, "shared")
	rounds := writeRounds
	if text := os.Getenv("ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil || rounds < 1 {
			t.Fatalf("ROUNDS=%s is not a number above 0", text)
		}
	}

	machines := s.Dynamic(t).Resource(supervisortest.Machines).Namespace(namespace)
	var kept [apiWriters]int
	var refused atomic.Int64
	began := time.Now()
	for round := 1; round <= rounds && !t.Failed(); round++ {
		var writing sync.WaitGroup
		for i := range apiWriters {
			writing.Go(func() {
				w := writer{machines: machines, label: fmt.Sprintf("writer-%d", i)}
				write := w.patch
				if i%2 == 1 {
					write = w.update
				}
				err := write(t.Context(), round)
				switch {
				case err == nil:
					kept[i] = round
				case apierrors.IsConflict(err):
					refused.Add(1)
				default:
					t.Errorf("round %d, %s: %v", round, w.label, err)
				}
			})
		}
		a.Reconfigure(vm, types.VirtualMachineConfigSpec{
			Annotation: fmt.Sprintf("by the administrator, %d", round), MemoryMB: int64(1024 * (1 + round%8)),
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "admin.round", Value: strconv.Itoa(round)}},
		})
		writing.Wait()
	}
	took := time.Since(began)
	t.Logf("%d writes in %s, %d of them answered with 409", apiWriters*rounds, took.Round(time.Millisecond),
		refused.Load())
	now := s.get(t, namespace, "shared")
	for i, n := range kept {
		want := ""
		if n > 0 {
			want = strconv.Itoa(n)
		}
		if got := now.Labels[fmt.Sprintf("writer-%d", i)]; got != want {
			t.Errorf("the last write of writer %d that was accepted is %q, and there is %q", i, want, got)
		}
	}
	if refused.Load() == int64(apiWriters*rounds) {
		t.Error("nothing was accepted")
	}
	if got, want := a.Extra(vm, "admin.round"), strconv.Itoa(rounds); got != want {
		t.Errorf("the administrator's last round is %s, and in vCenter there is %s", want, got)
	}
	waittest.Within(t, 10*time.Second, "the administrator's last change is shown", func(context.Context) error {
		want := fmt.Sprintf("%dGi", 1+rounds%8)
		if got := s.get(t, namespace, "shared").Status.Hardware.Memory.Total.String(); got != want {
			return fmt.Errorf("memory %s, want %s", got, want)
		}
		return nil
	})
	if got := a.Properties(vm).Config.Annotation; !strings.HasPrefix(got, fmt.Sprintf("by the administrator, %d", rounds)) {
		t.Errorf("the notes are %q", got)
	}
}

// writer writes a number into a label of its own.
type writer struct {
	machines dynamic.ResourceInterface
	label    string
}

func (w writer) patch(ctx context.Context, n int) error {
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:"%d"}}}`, w.label, n)
	_, err := w.machines.Patch(ctx, "shared", apitypes.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (w writer) update(ctx context.Context, n int) error {
	vm, err := w.machines.Get(ctx, "shared", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := unstructured.SetNestedField(vm.Object, strconv.Itoa(n), "metadata", "labels", w.label); err != nil {
		return err
	}
	_, err = w.machines.Update(ctx, vm, metav1.UpdateOptions{})
	return err
}
