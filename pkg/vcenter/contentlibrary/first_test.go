// SPDX-License-Identifier: Apache-2.0

package contentlibrary_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/vcenter/contentlibrary"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// holding holds back what is done with one library until it is released.
type holding struct {
	contentlibrary.Session
	library string
	release chan struct{}
}

func (h holding) Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error {
	if strings.Contains(operation, h.library) {
		select {
		case <-h.release:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return h.Session.Do(ctx, operation, f)
}

// A library whose first reading goes on and on does not keep the others back for ever, and nobody takes it for an empty
// one.
func TestTheFirstReadingHasALimit(t *testing.T) {
	w := newWorld(t, empty)
	disc := vcentertest.LibraryItem{Name: "disc", Type: library.ItemTypeISO}
	w.library("quick", disc)
	w.library("slow", disc)
	slow := w.has("slow", "there is one", same("disc 2"))
	w.has("quick", "there is another one", same("disc 2"))

	start := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	clock := testingclock.NewFakeClock(start)
	session := holding{w.session, slow.ID, make(chan struct{})}
	w.handed = &handed{}
	w.catalogue = &contentlibrary.Catalogue{Session: session, Handler: w.handed, Logger: w.log.Logger(), Clock: clock}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.catalogue.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	step := func() {
		if clock.HasWaiters() {
			clock.Step(10 * time.Second)
		}
	}
	waittest.Eventually(t, "what was read is told", func() bool {
		step()
		return w.told("quick") != nil
	})
	if after := clock.Since(start); after < 5*time.Minute {
		t.Errorf("a part is told after %s as if it was all", after)
	}
	if w.catalogue.Synced() || w.told("slow") != nil {
		t.Errorf("everything was read, it is said: %+v", w.told("slow"))
	}
	close(session.release)
	w.has("slow", "it was read", same("disc 2"))
	waittest.Eventually(t, "everything was read", w.catalogue.Synced)
}
