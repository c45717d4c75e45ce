// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("median of %v: %v, want %v", test.values, got, test.want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		metric  Metric
		ratio   float64
		verdict string
	}{
		{newMetric("time", "ms", false, 5, []float64{10, 20, 30}, []float64{100}), 5, "reached"},
		{newMetric("time", "ms", false, 5, []float64{20}, []float64{99}), 4.95, "missed"},
		{newMetric("rate", "/s", true, 2, []float64{3000}, []float64{1000}), 3, "reached"},
		{newMetric("no goal", "/s", true, 0, []float64{3000}, []float64{1000}), 3, ""},
		{newMetric("nothing measured", "ms", false, 5, nil, []float64{1}), 0, "missed"},
	} {
		if test.metric.Ratio != test.ratio || test.metric.Verdict() != test.verdict {
			t.Errorf("%s: %v %q, want %v %q", test.metric.Name, test.metric.Ratio, test.metric.Verdict(), test.ratio,
				test.verdict)
		}
	}
}

func TestPrint(t *testing.T) {
	report := &Report{
		Machine: Machine{Cores: 2, CPU: "Some CPU", MemoryMiB: 4096, Go: "go1.26", Kernel: "6.1", LoadBefore: "0.10",
			LoadAfter: "1.90"},
		Objects: 10, Start: Start{Whole: 8.25, VSphereAPIServer: 2, FillCRD: 1.5},
		Sizes:    Sizes{Pacific: 1010, CRD: 1012, PacificItems: 1000, CRDItems: 1000},
		Finished: time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC),
		Metrics: []Metric{
			newMetric("LIST", "ms", false, 5, []float64{12.34}, []float64{123.4}),
			newMetric("GET direct", "/s", true, 0, []float64{3000}, nil),
		},
		CPU: []CPU{{Phase: "LIST", Side: "CRD", PerAction: map[string]float64{"a": 1.5}}},
		Memory: []Memory{{Moment: "started", Processes: map[string]Footprint{"a": {Resident: 100, Anonymous: 40, Peak: 120},
			"b": {}}}},
		Notes: []string{"A note."},
	}
	var out bytes.Buffer
	if err := report.print(&out, []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	want := `
10 virtual machines, 2026-11-23 12:00 UTC
2 cores Some CPU, 4096 MiB, Linux 6.1, go1.26; load before 0.10, after 1.90
Full lists as JSON: Pacific 1010 bytes, CRD 1012 bytes; items alone 1000 and 1000, 0 of them of unequal length
From start to ready: everything 8.2 s, vsphere-apiserver alone 2.0 s; filling the CRD took 1.5 s

METRIC       PACIFIC   CRD      TIMES BETTER   GOAL   VERDICT
LIST         12.3 ms   123 ms   10.0           ≥ 5    reached
GET direct   3000 /s

Processor time of the servers, ms per operation
PHASE   SIDE   a      b
LIST    CRD    1.50   0

Memory, MiB: resident (of that its own / peak)
MOMENT    a                b
started   100 (40 / 120)   0 (0 / 0)

- A note.
`
	var got strings.Builder
	for line := range strings.Lines(out.String()) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestParseProc(t *testing.T) {
	got, err := parseStat([]byte("42 (super) visor) S 1 42 42 0 -1 4194560 9 0 0 0 150 25 0 0 20 0 12 0 9 9 9\n"))
	if want := 1750 * time.Millisecond; err != nil || got != want {
		t.Errorf("processor time %v, %v, want %v", got, err, want)
	}
	if _, err := parseStat([]byte("42 (supervisor)")); err == nil {
		t.Error("half a line was taken")
	}
	footprint := parseFootprint("Name:\tsupervisor\nVmHWM:\t 2048 kB\nVmRSS:\t 1024 kB\nRssAnon:\t 512 kB\n")
	if diff := cmp.Diff(Footprint{Resident: 1, Anonymous: 0.5, Peak: 2}, footprint); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
}
