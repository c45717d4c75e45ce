// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/memory"
)

// BenchmarkMemory measures what it costs to remember MACHINES machines, 1,000 where it is not set: an act with a memory
// and without one, the size of the file, and the start of the next process.
func BenchmarkMemory(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("MACHINES"))
	if err != nil {
		n = 1000
	}
	for name, dir := range map[string]string{"with": b.TempDir(), "without": ""} {
		b.Run(fmt.Sprintf("%s memory, %d machines", name, n), func(b *testing.B) {
			v, err := Start(Options{Memory: dir, Inventory: Machines(n)})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { v.Close() }()
			client, err := v.Client(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			builder := &Builder{Client: client, dir: v.dir}
			if err := builder.In(b.Context(), "DC0"); err != nil {
				b.Fatal(err)
			}
			vm, err := builder.VirtualMachine(b.Context(), VM{Name: "changed", Cluster: "cluster-a", CPUs: 1, MemoryMB: 1024})
			if err != nil {
				b.Fatal(err)
			}
			acts := 0
			for b.Loop() {
				acts++
				task, err := vm.Reconfigure(b.Context(), types.VirtualMachineConfigSpec{Annotation: strconv.Itoa(acts)})
				if err == nil {
					err = task.WaitEx(b.Context())
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			if dir == "" {
				return
			}
			began := time.Now()
			v.Close()
			b.ReportMetric(time.Since(began).Seconds(), "s/stop")
			info, err := os.Stat(filepath.Join(dir, memory.FileName))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size())/float64(n), "B/machine")
			began = time.Now()
			if v, err = Start(Options{Memory: dir}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(began).Seconds(), "s/start")
		})
	}
}
