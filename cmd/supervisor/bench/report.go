// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"
)

// Report is the outcome of a run.
type Report struct {
	Machine  Machine   `json:"machine"`
	Objects  int       `json:"objects"`
	Start    Start     `json:"start"`
	Sizes    Sizes     `json:"sizes"`
	Metrics  []Metric  `json:"metrics"`
	CPU      []CPU     `json:"cpu"`
	Memory   []Memory  `json:"memory"`
	Finished time.Time `json:"finished"`
	Notes    []string  `json:"notes,omitempty"`
}

// Machine is where it ran.
type Machine struct {
	Cores      int    `json:"cores"`
	CPU        string `json:"cpu"`
	MemoryMiB  int    `json:"memoryMiB"`
	Go         string `json:"go"`
	Kernel     string `json:"kernel"`
	LoadBefore string `json:"loadBefore"`
	LoadAfter  string `json:"loadAfter"`
}

// Start is how long starting took.
type Start struct {
	Whole            float64 `json:"wholeSeconds"`
	VSphereAPIServer float64 `json:"vsphereAPIServerSeconds"`
	FillCRD          float64 `json:"fillCRDSeconds"`
}

// Sizes are the lengths of the full lists as JSON, not packed.
type Sizes struct {
	Pacific int `json:"pacificBytes"`
	CRD     int `json:"crdBytes"`
	// PacificItems and CRDItems are the lengths of the items alone, which are equal one by one unless Unequal is not 0.
	PacificItems int `json:"pacificItemsBytes"`
	CRDItems     int `json:"crdItemsBytes"`
	Unequal      int `json:"itemsOfUnequalLength"`
}

// Metric is one comparison. Ratio is how many times better Pacific is.
type Metric struct {
	Name           string  `json:"name"`
	Unit           string  `json:"unit"`
	HigherIsBetter bool    `json:"higherIsBetter"`
	Pacific        float64 `json:"pacific"`
	CRD            float64 `json:"crd"`
	Ratio          float64 `json:"ratio"`
	Goal           float64 `json:"goal,omitempty"`
	// Samples are what the medians are taken of.
	PacificSamples []float64 `json:"pacificSamples,omitempty"`
	CRDSamples     []float64 `json:"crdSamples,omitempty"`
}

func newMetric(name, unit string, higherIsBetter bool, goal float64, pacific, crd []float64) Metric {
	m := Metric{
		Name: name, Unit: unit, HigherIsBetter: higherIsBetter, Goal: goal, PacificSamples: pacific, CRDSamples: crd,
		Pacific: median(pacific), CRD: median(crd),
	}
	m.Ratio = better(m.Pacific, m.CRD, higherIsBetter)
	return m
}

// Verdict says whether the goal is reached, nothing where there is none.
func (m Metric) Verdict() string {
	switch {
	case m.Goal == 0:
		return ""
	case m.Ratio >= m.Goal:
		return "reached"
	default:
		return "missed"
	}
}

// CPU is what the servers took for a phase, in milliseconds of processor time per operation.
type CPU struct {
	Phase     string             `json:"phase"`
	Side      string             `json:"side"`
	PerAction map[string]float64 `json:"millisecondsPerOperation"`
}

// Memory is what the servers held at one moment, in MiB.
type Memory struct {
	Moment    string               `json:"moment"`
	Processes map[string]Footprint `json:"processes"`
}

// Footprint is the memory of a process in MiB: what is resident, the part of it that is its own (the rest is the
// program's file, which the components share), and the most that ever was resident.
type Footprint struct {
	Resident  float64 `json:"resident"`
	Anonymous float64 `json:"anonymous"`
	Peak      float64 `json:"peak"`
}

// print writes the report for people.
func (r *Report) print(out io.Writer, servers []string) error {
	m := r.Machine
	fmt.Fprintf(out, "\n%d virtual machines, %s\n", r.Objects, r.Finished.UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(out, "%d cores %s, %d MiB, Linux %s, %s; load before %s, after %s\n", m.Cores, m.CPU, m.MemoryMiB,
		m.Kernel,
		m.Go, m.LoadBefore, m.LoadAfter)
	fmt.Fprintf(out, "Full lists as JSON: Pacific %d bytes, CRD %d bytes; items alone %d and %d, %d of them of unequal "+
		"length\n",
		r.Sizes.Pacific, r.Sizes.CRD, r.Sizes.PacificItems, r.Sizes.CRDItems, r.Sizes.Unequal)
	fmt.Fprintf(out, "From start to ready: everything %.1f s, vsphere-apiserver alone %.1f s; filling the CRD took %.1f "+
		"s\n\n",
		r.Start.Whole, r.Start.VSphereAPIServer, r.Start.FillCRD)

	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(table, "METRIC\tPACIFIC\tCRD\tTIMES BETTER\tGOAL\tVERDICT")
	for _, m := range r.Metrics {
		goal := ""
		if m.Goal > 0 {
			goal = "≥ " + strconv.FormatFloat(m.Goal, 'g', -1, 64)
		}
		crd, ratio := number(m.CRD)+" "+m.Unit, fmt.Sprintf("%.1f", m.Ratio)
		if m.CRD == 0 {
			crd, ratio = "", ""
		}
		fmt.Fprintf(table, "%s\t%s %s\t%s\t%s\t%s\t%s\n", m.Name, number(m.Pacific), m.Unit, crd, ratio, goal, m.Verdict())
	}
	if err := table.Flush(); err != nil {
		return err
	}

	fmt.Fprintf(out, "\nProcessor time of the servers, ms per operation\n")
	fmt.Fprintf(table, "PHASE\tSIDE")
	for _, server := range servers {
		fmt.Fprintf(table, "\t%s", server)
	}
	fmt.Fprintln(table)
	for _, c := range r.CPU {
		fmt.Fprintf(table, "%s\t%s", c.Phase, c.Side)
		for _, server := range servers {
			fmt.Fprintf(table, "\t%s", number(c.PerAction[server]))
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}

	fmt.Fprintf(out, "\nMemory, MiB: resident (of that its own / peak)\n")
	fmt.Fprintf(table, "MOMENT")
	for _, server := range servers {
		fmt.Fprintf(table, "\t%s", server)
	}
	fmt.Fprintln(table)
	for _, memory := range r.Memory {
		fmt.Fprint(table, memory.Moment)
		for _, server := range servers {
			f := memory.Processes[server]
			fmt.Fprintf(table, "\t%.0f (%.0f / %.0f)", f.Resident, f.Anonymous, f.Peak)
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, note := range r.Notes {
		fmt.Fprintln(out, "- "+note)
	}
	return nil
}

// number writes three digits that mean something.
func number(value float64) string {
	switch {
	case value >= 100 || value == 0:
		return strconv.FormatFloat(value, 'f', 0, 64)
	case value >= 10:
		return strconv.FormatFloat(value, 'f', 1, 64)
	default:
		return strconv.FormatFloat(value, 'f', 2, 64)
	}
}

func (r *Report) printJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
