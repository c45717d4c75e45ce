// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"fmt"
	"maps"
	goruntime "runtime"
	"testing"

	"github.com/vmware/govmomi/vim25/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
)

// many makes an inventory of n machines, each with a full set of properties of its own, half of them with metadata, as
// the collector hands them on: reduced to what is kept of them.
func many(tb testing.TB, n int) []inventory.Object {
	rich := richVM()
	list := make([]inventory.Object, 0, n)
	for i := range n {
		id := fmt.Sprintf("vm-%d", i)
		o := vm(id, fmt.Sprintf("machine-%d", i), []string{"a", "b", "deep"}[i%3])
		p := maps.Clone(rich.Properties)
		maps.Copy(p, o.Properties)
		p[machine.PathGuestIP] = fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
		if i%2 == 0 {
			p[machine.PathRecord] = encoded(tb, Metadata{Head: facts.Head{UID: "uid-" + id, Name: fmt.Sprintf("machine-%d", i)},
				Body: Body{Generation: 1, Labels: map[string]string{"app": "web", "tier": "front"}}})
		}
		for path, value := range p {
			p[path] = reduced(path, value)
		}
		o.Properties = p
		list = append(list, o)
	}
	return list
}

// reduced is what the collector keeps of a property of a machine.
func reduced(path string, value any) any {
	for _, kind := range picture.Kinds(keys()) {
		if kind.Type == facts.TypeMachine {
			return kind.Reduce(path, value)
		}
	}
	return value
}

func BenchmarkInitial10k(b *testing.B) {
	objects := many(b, 10_000)
	for b.Loop() {
		p := newFed(Config{Clock: testingclock.NewFakePassiveClock(now)})
		p.Apply(initial(objects...))
		all := &recorder{}
		p.Machines().Attach(into(all))
		if got := len(all.objects); got != 10_000 {
			b.Fatalf("%d objects", got)
		}
	}
}

func BenchmarkOneChangeIn10k(b *testing.B) {
	p := newFed(Config{Clock: testingclock.NewFakePassiveClock(now)})
	objects := many(b, 10_000)
	p.Apply(initial(objects...))
	p.Machines().Attach(into(&recorder{}))
	states := []types.VirtualMachinePowerState{types.VirtualMachinePowerStatePoweredOff,
		types.VirtualMachinePowerStatePoweredOn}
	i := 0
	for b.Loop() {
		o := objects[i%10_000]
		properties := maps.Clone(o.Properties)
		properties[machine.PathPowerState] = reduced(machine.PathPowerState, states[i/10_000%2])
		i++
		p.Apply(changed(inventory.Object{Ref: o.Ref, Properties: properties}))
	}
}

// BenchmarkMemory10k reports what the Projector itself holds, its objects included and the inventory's property maps
// excluded.
func BenchmarkMemory10k(b *testing.B) {
	objects := many(b, 10_000)
	for b.Loop() {
		var before, after goruntime.MemStats
		goruntime.GC()
		goruntime.ReadMemStats(&before)
		p := newFed(Config{Clock: testingclock.NewFakePassiveClock(now)})
		p.Apply(initial(objects...))
		goruntime.GC()
		goruntime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-held")
		goruntime.KeepAlive(p)
	}
	goruntime.KeepAlive(objects)
}
