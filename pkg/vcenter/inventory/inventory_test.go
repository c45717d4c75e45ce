// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"context"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

const metadataPath = `config.extraConfig["pacific.metadata"]`

var kinds = []inventory.Kind{
	{Type: "VirtualMachine", Root: inventory.RootNamespaces, Paths: []string{
		"name", "parent", "runtime.powerState", "config.instanceUuid", "config.changeVersion", "config.hardware.device",
		"guest.ipAddress", metadataPath,
	}},
	{Type: "Folder", Root: inventory.RootNamespaces, Paths: []string{"name", "parent"}},
	{Type: "HostSystem", Root: inventory.RootInventory, Paths: []string{"name", "runtime.connectionState"}},
	{Type: "ResourcePool", Root: inventory.RootInventory, Paths: []string{"name", "parent"}},
}

// mirror is a Handler that keeps what it is told, and checks that it is told
// only real changes.
type mirror struct {
	t  *testing.T
	mu sync.Mutex
	// updates counts the updates, changes how often each object changed.
	updates int
	changes map[types.ManagedObjectReference]int
	removed map[types.ManagedObjectReference]int
	objects map[types.ManagedObjectReference]map[string]any
	hidden  map[types.ManagedObjectReference]bool
	folder  types.ManagedObjectReference
}

func newMirror(t *testing.T) *mirror {
	return &mirror{t: t, objects: map[types.ManagedObjectReference]map[string]any{},
		hidden: map[types.ManagedObjectReference]bool{}, changes: map[types.ManagedObjectReference]int{},
		removed: map[types.ManagedObjectReference]int{}}
}

func (m *mirror) Apply(update inventory.Update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if update.Initial != (m.updates == 0) {
		m.t.Errorf("update %d has Initial %v", m.updates, update.Initial)
	}
	m.updates++
	m.folder = update.NamespacesFolder
	for _, changed := range update.Changed {
		m.changes[changed.Ref]++
		m.objects[changed.Ref] = changed.Properties
		m.hidden[changed.Ref] = changed.Hidden
	}
	for _, ref := range update.Removed {
		if m.objects[ref] == nil {
			m.t.Errorf("%v was removed and not known", ref)
		}
		m.removed[ref]++
		delete(m.objects, ref)
		delete(m.hidden, ref)
	}
}

// named returns the object of a kind with that name.
func (m *mirror) named(kind, name string) (types.ManagedObjectReference, map[string]any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ref, properties := range m.objects {
		if ref.Type == kind && properties["name"] == name {
			return ref, properties
		}
	}
	return types.ManagedObjectReference{}, nil
}

func (m *mirror) vm(name string) map[string]any {
	_, properties := m.named("VirtualMachine", name)
	return properties
}

// kept lists the names of the objects that are hidden, sorted.
func (m *mirror) kept() (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ref, hidden := range m.hidden {
		if hidden {
			names = append(names, m.objects[ref]["name"].(string))
		}
	}
	slices.Sort(names)
	return names
}

// forget starts the counting of changes anew.
func (m *mirror) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.changes)
	clear(m.removed)
}

func (m *mirror) counted() (changes, removed map[types.ManagedObjectReference]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.changes), maps.Clone(m.removed)
}

// fixture is a collector that runs against a simulated vCenter.
type fixture struct {
	*testing.T
	vcenter   *vcentertest.VCenter
	session   *vcenter.Session
	collector *inventory.Collector
	mirror    *mirror
}

// start runs a collector which ends, with all its goroutines, with the test.
func start(t *testing.T, v *vcentertest.VCenter, change func(*inventory.Collector)) *fixture {
	t.Helper()
	return startAt(t, v, vcenter.Config{}, change)
}

// startAt is start with another way to vCenter, or another account.
func startAt(t *testing.T, v *vcentertest.VCenter, config vcenter.Config, change func(*inventory.Collector)) *fixture {
	t.Helper()
	before := runtime.NumGoroutine()
	if config.URL == nil {
		config.URL = v.URL()
	}
	if config.CAFile == "" {
		config.CAFile = v.CAFile(t)
	}
	if config.CredentialsFile == "" {
		config.CredentialsFile = v.CredentialsFile(t)
	}
	config.KeepAlive = 200 * time.Millisecond
	if config.CallTimeout == 0 {
		config.CallTimeout = 5 * time.Second
	}
	s, err := vcenter.NewSession(config)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, vcenter: v, session: s, mirror: newMirror(t)}
	f.collector = &inventory.Collector{Session: s, Kinds: kinds, Handler: f.mirror}
	if change != nil {
		change(f.collector)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Session.Run() = %v", err)
		}
	})
	running.Go(func() {
		if err := f.collector.Run(ctx); err != nil {
			t.Errorf("Collector.Run() = %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if f.collector.Status().Err == nil {
			t.Error("Status().Err = nil after Run has returned")
		}
		v.Stop()
		waittest.Eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
	})
	return f
}

func (f *fixture) synced() {
	f.Helper()
	waittest.Eventually(f.T, "the inventory is followed", func() bool {
		status := f.collector.Status()
		return status.Synced && status.Err == nil
	})
}

// admin is somebody else at vCenter.
func (f *fixture) admin() *vcentertest.Builder {
	f.Helper()
	b, err := f.vcenter.Builder(f.Context())
	if err == nil {
		err = b.In(f.Context(), "DC0")
	}
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// find returns a virtual machine by its path below DC0/vm.
func (f *fixture) find(b *vcentertest.Builder, path string) *object.VirtualMachine {
	f.Helper()
	vm, err := find.NewFinder(b.Client.Client).VirtualMachine(f.Context(), "/DC0/vm/"+path)
	if err != nil {
		f.Fatal(err)
	}
	return vm
}

// do starts a task and waits for it.
func (f *fixture) do(task *object.Task, err error) {
	f.Helper()
	if err == nil {
		err = task.Wait(f.Context())
	}
	if err != nil {
		f.Fatal(err)
	}
}

func extraConfig(value string) types.VirtualMachineConfigSpec {
	return types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "pacific.metadata", Value: value}}}
}

// wire carries bytes to vCenter until it is cut, without a word to either end:
// what a firewall does that forgot a connection.
type wire struct {
	listener net.Listener
	cut      sync.RWMutex // Locked while nothing passes.
	running  sync.WaitGroup

	mu    sync.Mutex // Guards conns.
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener}
	w.running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, near, far)
			w.mu.Unlock()
			w.running.Go(func() { w.carry(near, far) })
			w.running.Go(func() { w.carry(far, near) })
		}
	})
	return w
}

func (w *wire) carry(from, to net.Conn) {
	_, _ = io.Copy(gate{w, to}, from)
	_ = from.Close()
	_ = to.Close()
}

func (w *wire) close() {
	_ = w.listener.Close()
	w.mu.Lock()
	for _, conn := range w.conns {
		_ = conn.Close()
	}
	w.mu.Unlock()
	w.running.Wait()
}

type gate struct {
	wire *wire
	to   io.Writer
}

func (g gate) Write(p []byte) (int, error) {
	g.wire.cut.RLock()
	defer g.wire.cut.RUnlock()
	return g.to.Write(p)
}
