// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of processor times in /proc, the same on all of Linux' platforms for user programs.
const ticksPerSecond = 100

// processes are the servers that are watched, by name.
type processes map[string]int

// cpu is the processor time that each has taken so far.
func (p processes) cpu() (map[string]time.Duration, error) {
	times := map[string]time.Duration{}
	for name, pid := range p {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return nil, fmt.Errorf("processor time of %s: %w", name, err)
		}
		if times[name], err = parseStat(data); err != nil {
			return nil, fmt.Errorf("processor time of %s: %w", name, err)
		}
	}
	return times, nil
}

// parseStat reads user and system time. The name of the program, the second field, may hold anything.
func parseStat(data []byte) (time.Duration, error) {
	_, rest, found := bytes.Cut(data, []byte(") "))
	if i := bytes.LastIndex(data, []byte(") ")); i >= 0 {
		rest = data[i+2:]
	}
	fields := bytes.Fields(rest)
	if !found || len(fields) < 13 {
		return 0, fmt.Errorf("%q is not what the kernel writes", data)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// memory is what each holds now.
func (p processes) memory(moment string) (Memory, error) {
	memory := Memory{Moment: moment, Processes: map[string]Footprint{}}
	for name, pid := range p {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return Memory{}, fmt.Errorf("memory of %s: %w", name, err)
		}
		memory.Processes[name] = parseFootprint(string(data))
	}
	return memory, nil
}

func parseFootprint(status string) Footprint {
	var f Footprint
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			f.Resident = float64(kib) / 1024
		case "RssAnon":
			f.Anonymous = float64(kib) / 1024
		case "VmHWM":
			f.Peak = float64(kib) / 1024
		}
	}
	return f
}

// thisMachine describes where we are.
func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH, LoadBefore: load()}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		if fields := strings.Fields(string(data)); len(fields) > 1 {
			if kib, err := strconv.Atoi(fields[1]); err == nil {
				m.MemoryMiB = kib / 1024
			}
		}
	}
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(data))
	}
	return m
}

// load is the load average over one minute.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(data), " ")
	return first
}
