// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/waittest"
)

// known is what a developer knows a machine by.
const known = `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.metadata.creationTimestamp} ` +
	`{.metadata.labels} {.status.powerState} {.status.network.primaryIP4} {.status.instanceUUID}` +
	`{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`

// TestVCenterRemembers: a developer's machine is what it was after the Supervisor was stopped and started, and after
// the simulated vCenter was killed, until somebody has it forget everything.
func TestVCenterRemembers(t *testing.T) {
	t.Parallel()
	s := suite.New("memory")
	running := false
	stop := func() {
		t.Helper()
		if running = false; s.Stop() != nil {
			t.Error("it does not stop")
		}
	}
	s.Begin(t, "--sim")
	running = true
	t.Cleanup(func() {
		if running {
			_ = s.Stop()
		}
	})
	samples, err := filepath.Abs("../../../artifacts/samples")
	if err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "apply", "-n", "team-a", "-f", filepath.Join(samples, "virtualmachine.yaml"))
	s.Kubectl(t, "label", "vm", "-n", "team-a", "my-first-vm", "written=before")
	s.Kubectl(t, "wait", "-n", "team-a", "vm", "my-first-vm", "--for=condition=Ready", "--timeout=60s")
	first := s.Admin(t).Client.ServiceContent.About.InstanceUuid
	before := s.Kubectl(t, "get", "vm", "-n", "team-a", "-o", known)

	again := func(when string) {
		t.Helper()
		waittest.Within(t, time.Minute, "the machines "+when, func(ctx context.Context) error {
			now, err := s.Try(ctx, "kubectl", "get", "vm", "-n", "team-a", "-o", known)
			if diff := cmp.Diff(before, now); err == nil && diff != "" {
				err = fmt.Errorf("the machines (-before +now):\n%s", diff)
			}
			return err
		})
	}
	if out, err := s.Try(t.Context(), "vcenter", "reset", "--yes", "--data-dir",
		string(s.Dir)); err == nil || !strings.Contains(out, "runs (process ") {
		t.Errorf("reset of a running one: %s", out)
	}
	stop()
	s.Begin(t, "--sim")
	running = true
	again("after a stop and a start")
	s.Kill(t, "vcenter")
	waittest.Within(t, time.Minute, "a write after vCenter's death", func(ctx context.Context) error {
		_, err := s.Try(ctx, "kubectl", "annotate", "vm", "-n", "team-a", "my-first-vm", "written=after", "--overwrite")
		return err
	})
	again("after vCenter's death")
	admin := s.Admin(t)
	if got := admin.Client.ServiceContent.About.InstanceUuid; got != first {
		t.Errorf("instanceUuid is %s, was %s", got, first)
	}
	s.Kubectl(t, "delete", "vm", "-n", "team-a", "my-first-vm", "--timeout=60s")
	stop()

	if out, err := s.Try(t.Context(), "vcenter", "reset", "--data-dir", string(s.Dir)); err == nil ||
		!strings.Contains(out, "say --yes") {
		t.Errorf("reset without a terminal: %v %s", err, out)
	}
	if out, err := s.Try(t.Context(), "vcenter", "reset", "--yes", "--data-dir", string(s.Dir)); err != nil {
		t.Error(out)
	}
	s.Begin(t, "--sim")
	running = true
	a := s.Admin(t)
	if got := a.Client.ServiceContent.About.InstanceUuid; got == first {
		t.Errorf("after a reset the instanceUuid is still %s", got)
	}
	// The name team-a is taken by the folder of another vCenter: the new one's is served under another name.
	waittest.Within(t, 30*time.Second, "the new folders", func(ctx context.Context) error {
		out, err := s.Try(ctx, "kubectl", "get", "vm", "-A", "-o", "jsonpath={range .items[*]}{.metadata.namespace} {end}")
		if err == nil && (strings.Contains(out, "team-a ") || strings.Count(out, "team-a-") != 6) {
			err = fmt.Errorf("machines are in the namespaces %s", out)
		}
		return err
	})
	stop()
}
