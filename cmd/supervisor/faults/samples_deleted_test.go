// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openpacific/pacific/pkg/waittest"
)

// TestDeletedSamplesStayDeleted deletes the samples as a user does: the next start neither fails nor brings them back.
func TestDeletedSamplesStayDeleted(t *testing.T) {
	t.Parallel()
	s := suite.New("deleted-samples")
	s.Begin(t, "--sim")
	running := true
	t.Cleanup(func() {
		if running {
			_ = s.Stop()
		}
	})
	s.Kubectl(t, "delete", "vns", "team-a", "team-b", "--wait=false")
	waittest.Within(t, time.Minute, "the samples to go", func(ctx context.Context) error {
		out, err := s.Try(ctx, "kubectl", "get", "vns", "-o", "name")
		if err == nil && strings.TrimSpace(out) != "" {
			err = fmt.Errorf("there are %q", out)
		}
		return err
	})
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s.Begin(t, "--sim")
	if got := s.Output.String(); strings.Contains(got, "could be given") {
		t.Errorf("what was deleted is missed:\n%s", got)
	}
	if out := s.Kubectl(t, "get", "vns", "-o", "name"); strings.TrimSpace(out) != "" {
		t.Errorf("back again: %s", out)
	}
	running = false
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
