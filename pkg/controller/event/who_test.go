// SPDX-License-Identifier: Apache-2.0

package event

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	fcache "k8s.io/client-go/tools/cache/testing"
	"k8s.io/klog/v2/ktesting"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/waittest"
)

// annals are a History of which a test says what it knows.
type annals struct {
	mu    sync.Mutex
	who   string
	err   error
	asked []string
}

func (a *annals) Powered(_ context.Context, namespace, name string, uid types.UID,
	state vmopv1.VirtualMachinePowerState) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, fmt.Sprintf("%s/%s %s %s", namespace, name, uid, state))
	return a.who, a.err
}

func (a *annals) Configured(ctx context.Context, namespace, name string, uid types.UID) (string, error) {
	return a.Powered(ctx, namespace, name, uid, "configured")
}

func (a *annals) know(who string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.who, a.err = who, err
}

func (a *annals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

func (a *annals) first() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[0]
}

// heard keeps what was told of overruling.
type heard struct {
	mu       sync.Mutex
	messages []string
}

func (h *heard) Event(_ runtime.Object, _, reason, message string) {
	if reason != ReasonOverruled {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append(h.messages, message[:strings.Index(message, ",")])
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.messages...)
}

// TestWhoOverruled: who it was is asked once, some time later, and not for each of very many; what nobody knows is told
// all the same.
func TestWhoOverruled(t *testing.T) {
	machines := fcache.NewFakeControllerSource()
	logger, ctx := ktesting.NewTestContext(t)
	ctx, cancel := context.WithCancel(ctx)
	clock, history, told := testingclock.NewFakeClock(time.Unix(1_800_000_000, 0)), &annals{who: `LAB\alice`}, &heard{}
	controller := &Controller{Machines: machines, Namespaces: fcache.NewFakeControllerSource(), Recorder: told,
		History: history,
		Clock:   clock, Logger: logger}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = controller.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	machines.Add(machine(on, on))
	turns := 0
	turn := func() { // off, and on again
		turns++
		machines.Modify(machine(on, off))
		machines.Modify(machine(on, on))
	}
	// What comes before the informer has begun is the start.
	waittest.Eventually(t, "it is to be asked", func() bool { turn(); return clock.HasWaiters() })
	if history.count() != 0 {
		t.Error("vCenter was asked before it has noted anything")
	}
	clock.Step(settling)
	const nameless, named = "It became PoweredOff in vCenter", `It became PoweredOff in vCenter by LAB\alice`
	waittest.Eventually(t, "who it was is told", func() bool { return slices.Contains(told.all(), named) })
	if got := history.first(); got != "team-a/web-1 1 PoweredOff" {
		t.Errorf("asked for %s", got)
	}

	history.know("", errors.New("vCenter is away"))
	before := turns
	for range 3 * atOnce {
		turn()
	}
	waittest.Eventually(t, "most are told without asking", func() bool { return len(told.all()) >= 2*atOnce })
	waittest.Eventually(t, "each is told, if not by whom", func() bool {
		clock.Step(settling)
		return len(told.all()) >= turns-before
	})
	if asked := history.count(); asked > 2*atOnce {
		t.Errorf("vCenter was asked %d times at once", asked)
	}
	if last := told.all(); last[len(last)-1] != nameless {
		t.Errorf("nobody knew who it was, and told was %q", last[len(last)-1])
	}
}
