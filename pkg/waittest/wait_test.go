// SPDX-License-Identifier: Apache-2.0

package waittest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/openpacific/pacific/pkg/waittest"
)

func TestPollReturnsTheLastError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	last := errors.New("the third")
	err := waittest.Poll(ctx, func() error {
		if calls++; calls < 3 {
			return errors.New("another")
		}
		cancel()
		return last
	})
	if !errors.Is(err, last) || calls != 3 {
		t.Errorf("after %d calls: %v", calls, err)
	}
}

func TestWithinEndsAtSuccess(t *testing.T) {
	calls := 0
	waittest.Within(t, time.Minute, "the second call", func(ctx context.Context) error {
		if _, limited := ctx.Deadline(); !limited {
			t.Error("the context has no deadline")
		}
		if calls++; calls < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	waittest.Eventually(t, "the fourth call", func() bool { calls++; return calls == 4 })
}

func TestCleaningUpWaitsToo(t *testing.T) {
	t.Cleanup(func() {
		calls := 0
		waittest.Eventually(t, "the third call", func() bool { calls++; return calls == 3 })
	})
}

func TestOutputIsReadableWhileItIsWritten(t *testing.T) {
	var output waittest.Output
	var writing sync.WaitGroup
	for range 10 {
		writing.Go(func() { _, _ = output.Write([]byte("x")) })
	}
	waittest.Eventually(t, "all of it", func() bool { return output.String() == "xxxxxxxxxx" })
	writing.Wait()
	output.Reset()
	output.Logger().Info("said", "number", 7)
	if got := output.String(); len(got) == 0 || got[0] != 'I' {
		t.Errorf("the log holds %q", got)
	}
}
