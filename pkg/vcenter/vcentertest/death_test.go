// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/waittest"
)

// In the environment of a process of this test's that is a vCenter, until it is killed.
const (
	memoryVariable  = "VCENTERTEST_MEMORY"
	addressVariable = "VCENTERTEST_ADDRESS"
)

// TestBeVCenter is no test: it is what the other process does.
func TestBeVCenter(t *testing.T) {
	dir := os.Getenv(memoryVariable)
	if dir == "" {
		return
	}
	v, err := Start(Options{Memory: dir, Addr: os.Getenv(addressVariable)})
	if err != nil {
		fmt.Printf("failed %v\n", err)
		return
	}
	defer v.Close()
	fmt.Printf("serves %s\n", v.Thumbprint())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
}

// mortal is a vCenter in a process of its own.
type mortal struct {
	t       *testing.T
	dir     string
	address string
	process *exec.Cmd
	print   string
}

func (m *mortal) start() {
	m.t.Helper()
	m.process = exec.Command(os.Args[0], "-test.run=^TestBeVCenter$")
	m.process.Env = append(os.Environ(), memoryVariable+"="+m.dir, addressVariable+"="+m.address)
	m.process.Stderr = os.Stderr
	out, err := m.process.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.process.StdinPipe(); err != nil {
		m.t.Fatal(err)
	}
	if err := m.process.Start(); err != nil {
		m.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	print, ok := strings.CutPrefix(strings.TrimSpace(line), "serves ")
	if !ok {
		m.t.Fatalf("the other process says %q, %v", line, err)
	}
	m.print = print
}

func (m *mortal) kill() {
	_ = m.process.Process.Kill()
	_ = m.process.Wait()
}

func (m *mortal) client(ctx context.Context) (*govmomi.Client, error) {
	wire := soap.NewClient(&url.URL{Scheme: "https", Host: m.address, Path: vim25.Path}, false)
	wire.SetThumbprint(m.address, m.print)
	client, err := vim25.NewClient(ctx, wire)
	if err != nil {
		return nil, err
	}
	made := &govmomi.Client{Client: client, SessionManager: session.NewManager(client)}
	return made, made.Login(ctx, url.UserPassword(DefaultUsername, DefaultPassword))
}

// fate is what a machine is known to be: what was answered last, and what it is if the last request was carried out that
// had no answer.
type fate struct {
	id             types.ManagedObjectReference
	answered, asks state
	open           bool
}

// state is of a machine: everything in it is changed together.
type state struct {
	exists bool
	cpus   int32
	note   string
	power  types.VirtualMachinePowerState
}

// actor changes machines of its own, one after the other, and knows what became of them.
type actor struct {
	name  string
	fates map[string]*fate
}

// act does as much as it can until vCenter dies.
func (a *actor) act(ctx context.Context, m *mortal, done *atomic.Int64) error {
	client, err := m.client(ctx)
	if err != nil {
		return err
	}
	finder := find.NewFinder(client.Client, false)
	folder, err := finder.Folder(ctx, namespaces+"/team-a")
	if err != nil {
		return err
	}
	pool, err := finder.ResourcePool(ctx, "/DC0/host/cluster-a/Resources")
	if err != nil {
		return err
	}
	for {
		name := fmt.Sprintf("%s-%d", a.name, len(a.fates))
		of := &fate{}
		a.fates[name] = of
		var vm *object.VirtualMachine
		steps := []struct {
			want state
			do   func() (*object.Task, error)
		}{
			{state{true, 1, "one", types.VirtualMachinePowerStatePoweredOff}, func() (*object.Task, error) {
				spec := with(controllerOf(diskAt("[datastore-1] " + name + "/" + name + ".vmdk"))...)
				disk := spec.DeviceChange[1].GetVirtualDeviceConfigSpec()
				disk.FileOperation = types.VirtualDeviceConfigSpecFileOperationCreate
				spec.Name, spec.NumCPUs, spec.Annotation = name, 1, "one"
				return folder.CreateVM(ctx, spec, pool, nil)
			}},
			{state{true, 2, "two", types.VirtualMachinePowerStatePoweredOff}, func() (*object.Task, error) {
				return vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{NumCPUs: 2, Annotation: "two"})
			}},
			{state{true, 2, "two", types.VirtualMachinePowerStatePoweredOn}, func() (*object.Task, error) {
				return vm.PowerOn(ctx)
			}},
			{state{true, 2, "two", types.VirtualMachinePowerStatePoweredOff}, func() (*object.Task, error) {
				return vm.PowerOff(ctx)
			}},
			{state{}, func() (*object.Task, error) { return vm.Destroy(ctx) }},
		}
		for n, step := range steps {
			if n == len(steps)-1 && len(a.fates)%3 != 0 {
				break
			}
			of.asks, of.open = step.want, true
			task, err := step.do()
			if err != nil {
				return err
			}
			info, err := task.WaitForResult(ctx)
			if err != nil {
				return err
			}
			if made, ok := info.Result.(types.ManagedObjectReference); ok {
				of.id, vm = made, object.NewVirtualMachine(client.Client, made)
			}
			of.answered, of.open = step.want, false
			done.Add(1)
		}
	}
}

// TestDeath kills vCenter in the middle of what four clients do: what was answered is there, what was not is done or is
// not, and nothing is half.
func TestDeath(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{t: t, dir: t.TempDir(), address: listener.Addr().String()}
	_ = listener.Close()
	actors := make([]*actor, 4)
	for i := range actors {
		actors[i] = &actor{name: fmt.Sprintf("of-%d", i), fates: map[string]*fate{}}
	}
	seen := map[types.ManagedObjectReference]string{}
	answered, open := 0, 0
	var done atomic.Int64
	for range 3 {
		m.start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var working sync.WaitGroup
		for _, a := range actors {
			working.Go(func() {
				err := a.act(ctx, m, &done)
				if cut := new(url.Error); !errors.As(err, &cut) {
					t.Errorf("%s: %v", a.name, err)
				}
			})
		}
		enough := done.Load() + 30 + rand.Int64N(100) // at any moment
		waittest.Eventually(t, "something to have happened", func() bool { return done.Load() > enough })
		m.kill()
		working.Wait()
		cancel()
		m.start()
		a, o := m.settle(actors, seen)
		answered, open = answered+a, open+o
		m.kill()
	}
	t.Logf("%d machines were answered of, %d had a request without an answer", answered, open)
	if answered < 10 || open < 4 {
		t.Error("that is too few to prove anything")
	}
}

// settle compares what there is with what is known, and takes over what there is.
func (m *mortal) settle(actors []*actor, seen map[types.ManagedObjectReference]string) (answered, open int) {
	m.t.Helper()
	ctx := m.t.Context()
	client, err := m.client(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	found, err := find.NewFinder(client.Client, false).VirtualMachineList(ctx, namespaces+"/team-a/of-*")
	if missing := new(find.NotFoundError); err != nil && !errors.As(err, &missing) {
		m.t.Fatal(err)
	}
	is := map[string]state{}
	for _, vm := range found {
		var props mo.VirtualMachine
		if err := vm.Properties(ctx, vm.Reference(), []string{"name", "config", "runtime.powerState"}, &props); err != nil {
			m.t.Fatal(err)
		}
		if other, ok := seen[vm.Reference()]; ok && other != props.Name {
			m.t.Errorf("%s has the identifier %s of %s", props.Name, vm.Reference().Value, other)
		}
		seen[vm.Reference()] = props.Name
		is[props.Name] = state{true, props.Config.Hardware.NumCPU, props.Config.Annotation, props.Runtime.PowerState}
		if devices := object.VirtualDeviceList(props.Config.Hardware.Device); len(devices.SelectByType(
			(*types.VirtualDisk)(nil))) != 1 {
			m.t.Errorf("%s has not one disk", props.Name)
		}
	}
	for _, a := range actors {
		for name, of := range a.fates {
			switch now := is[name]; {
			case now == of.answered:
			case of.open && now == of.asks:
			default:
				m.t.Errorf("%s is %+v; answered was %+v, asked for %+v (%t)", name, now, of.answered, of.asks, of.open)
			}
			if of.open {
				open++
			} else {
				answered++
			}
			if of.id.Value != "" {
				seen[of.id] = name
			}
			of.answered, of.open = is[name], false
		}
	}
	return answered, open
}
