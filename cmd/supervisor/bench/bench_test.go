// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

// TestReportIsWhole runs the whole of `supervisor bench`, small, and looks for every figure. What the figures are is no
// matter here.
func TestReportIsWhole(t *testing.T) {
	t.Parallel()
	binary, err := supervisortest.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "bench", "--machines=300", "--rounds=1", "--get-rounds=1",
		"--get-time=200ms",
		"--clients=2",
		"--watchers=3", "--changes=2", "--burst=20", "--settle=100ms", "--data-dir="+t.TempDir(),
		"--secure-port="+strconv.Itoa(supervisortest.FreePort()), "--output=json")
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 2 * stopTimeout
	var out, progress bytes.Buffer
	command.Stdout, command.Stderr = &out, &progress
	if err := command.Run(); err != nil {
		t.Fatalf("supervisor bench: %v\n%s", err, &progress)
	}
	var report Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	start(t, report)
	metrics(t, report.Metrics)
	processorTime(t, report.CPU)
	memory(t, report.Memory)
}

// lists are the names of the metrics of lists.
func lists() []string {
	return []string{
		"LIST JSON", "LIST Table", "LIST JSON, identity", "LIST Table, identity", "LIST JSON limit=500, one page",
		"LIST JSON limit=500, all pages", "LIST Table limit=500, all pages (kubectl get)",
		"informer's first sync (WatchList)",
	}
}

func start(t *testing.T, report Report) {
	t.Helper()
	if report.Objects != 300 || report.Finished.IsZero() || report.Machine.Cores == 0 {
		t.Errorf("of what: %d objects on %+v, finished %s", report.Objects, report.Machine, report.Finished)
	}
	if s := report.Start; s.Whole <= 0 || s.VSphereAPIServer <= 0 || s.FillCRD <= 0 {
		t.Errorf("start: %+v", s)
	}
	if s := report.Sizes; s.Pacific == 0 || s.CRD == 0 || s.Unequal != 0 || s.PacificItems == 0 ||
		s.PacificItems != s.CRDItems {
		t.Errorf("sizes: %+v", s)
	}
}

func metrics(t *testing.T, metrics []Metric) {
	t.Helper()
	want := append(lists(),
		"GET consistent, 2 clients", "GET consistent, 2 clients, without the aggregator",
		"GET resourceVersion=0, 2 clients", "GET resourceVersion=0, 2 clients, without the aggregator",
		"change to the median of 3 watchers", "change to the last of 3 watchers", "burst of 20 changes, events to 3 watchers",
		"resident: vsphere-apiserver against kube-apiserver", "the same, peak",
		"all of vsphere-apiserver against what the CRD added")
	var got []string
	for i, m := range metrics {
		got = append(got, m.Name)
		if m.Pacific <= 0 || i < len(lists()) && (m.CRD <= 0 || m.Ratio <= 0) {
			t.Errorf("%s: Pacific %v, CRD %v, ratio %v", m.Name, m.Pacific, m.CRD, m.Ratio)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func processorTime(t *testing.T, phases []CPU) {
	t.Helper()
	if want := 2*len(lists()) + 3*2 + 2; len(phases) != want {
		t.Errorf("processor time of %d phases, want %d: %+v", len(phases), want, phases)
	}
	for _, phase := range phases {
		if len(phase.PerAction) != len(servers()) {
			t.Errorf("processor time of %q, %s: %v", phase.Phase, phase.Side, phase.PerAction)
		}
	}
}

func memory(t *testing.T, weighed []Memory) {
	t.Helper()
	var moments []string
	for _, memory := range weighed {
		moments = append(moments, memory.Moment)
		for _, server := range servers() {
			if f := memory.Processes[server]; f.Resident <= 0 || f.Anonymous <= 0 || f.Peak <= 0 {
				t.Errorf("memory of %s, %s: %+v", server, memory.Moment, f)
			}
		}
	}
	if diff := cmp.Diff([]string{"started", "Pacific used, no CRD yet", "CRD filled", "all measured"},
		moments); diff != "" {
		t.Errorf("memory is weighed at (-want +got):\n%s", diff)
	}
}
