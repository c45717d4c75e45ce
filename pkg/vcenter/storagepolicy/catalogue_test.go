// SPDX-License-Identifier: Apache-2.0

package storagepolicy_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/storagepolicy"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

const patience = 30 * time.Second

// world is a vCenter, and a catalogue that follows it.
type world struct {
	testing.TB
	vcenter   *vcentertest.VCenter
	builder   *vcentertest.Builder
	policies  *pbm.Client
	session   *vcenter.Session
	catalogue *storagepolicy.Catalogue
	told      *told
	log       *log
}

// log is what the catalogue logged.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

func (l *log) says(what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), what)
}

// told is what a Handler was told last.
type told struct {
	mu     sync.Mutex
	answer facts.StoragePolicies
	times  int
}

func (h *told) SetStoragePolicies(answer facts.StoragePolicies) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer, h.times = answer, h.times+1
}

func (h *told) last() (facts.StoragePolicies, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.answer, h.times
}

// newWorld must be called before t.Parallel: vCenters share state of the simulator
// while they are made.
func newWorld(t testing.TB, interval time.Duration) *world {
	t.Helper()
	v := vcentertest.Run(t, vcentertest.Options{})
	w := &world{TB: t, vcenter: v, told: &told{}, log: &log{}}
	w.connect()
	var err error
	w.session, err = vcenter.NewSession(vcenter.Config{URL: v.URL(), CredentialsFile: v.CredentialsFile(t),
		CAFile: v.CAFile(t), KeepAlive: 100 * time.Millisecond, Logger: klog.Background()})
	if err != nil {
		t.Fatal(err)
	}
	w.catalogue = &storagepolicy.Catalogue{Session: w.session, Handler: w.told, Interval: interval,
		Logger: textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(w.log)))}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.session.Run(ctx) })
	running.Go(func() { _ = w.catalogue.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return w
}

// connect logs the administrator in.
func (w *world) connect() {
	w.Helper()
	b, err := w.vcenter.Builder(w.Context())
	if err == nil {
		err = b.In(w.Context(), "DC0")
	}
	if err != nil {
		w.Fatal(err)
	}
	w.builder = b
	if w.policies, err = pbm.NewClient(w.Context(), b.Client.Client); err != nil {
		w.Fatal(err)
	}
}

func (w *world) policy(name string) string {
	w.Helper()
	if err := w.builder.StoragePolicy(w.Context(), name, ""); err != nil {
		w.Fatal(err)
	}
	id, err := w.policies.ProfileIDByName(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

func (w *world) machine(vm vcentertest.VM) *object.VirtualMachine {
	w.Helper()
	vm.Cluster = "cluster-a"
	made, err := w.builder.VirtualMachine(w.Context(), vm)
	if err != nil {
		w.Fatal(err)
	}
	return made
}

func (w *world) until(what string, done func() bool) {
	w.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			answer, times := w.told.last()
			w.Fatalf("not in time: %s; told %d times, at last %+v", what, times, answer)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// named is the policy of a name.
func (w *world) named(name string) (facts.StoragePolicy, bool) {
	policies, _ := w.catalogue.Policies()
	for _, policy := range policies {
		if policy.Name == name {
			return policy, true
		}
	}
	return facts.StoragePolicy{}, false
}

func (w *world) has(name string) func() bool {
	return func() bool { _, found := w.named(name); return found }
}

func wait(t testing.TB, changed <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatalf("no notice: %s", what)
	}
}

func TestPolicies(t *testing.T) {
	w := newWorld(t, 20*time.Millisecond)
	t.Parallel()
	w.until("the policies are read", w.has("vSAN Default Storage Policy"))
	changed := w.catalogue.Changed()
	id := w.policy("Gold Storage")
	wait(t, changed, "a policy more")
	want := facts.StoragePolicy{ID: id, Name: "Gold Storage", ClassName: "gold-storage"}
	w.until("it is there", w.has("Gold Storage"))
	if got, _ := w.named("Gold Storage"); got != want {
		t.Errorf("made: %+v", got)
	}
	profile := pbmtypes.PbmProfileId{UniqueId: id}
	changed = w.catalogue.Changed()
	if err := w.policies.UpdateProfile(t.Context(), profile,
		pbmtypes.PbmCapabilityProfileUpdateSpec{Name: "Platinum"}); err != nil {
		t.Fatal(err)
	}
	wait(t, changed, "another name")
	want.Name = "Platinum"
	w.until("it is renamed", w.has("Platinum"))
	if got, _ := w.named("Platinum"); got != want {
		t.Errorf("renamed: %+v", got)
	}
	if _, found := w.named("Gold Storage"); found {
		t.Error("the old name is still there")
	}
	changed = w.catalogue.Changed()
	if _, err := w.policies.DeleteProfile(t.Context(), []pbmtypes.PbmProfileId{profile}); err != nil {
		t.Fatal(err)
	}
	wait(t, changed, "a policy less")
	w.until("it is gone", func() bool { return !w.has("Platinum")() })
}

func TestDatastores(t *testing.T) {
	w := newWorld(t, 20*time.Millisecond)
	t.Parallel()
	for _, name := range []string{"fast", "bulk"} {
		if err := w.builder.Datastore(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.builder.StoragePolicy(t.Context(), "Gold", "", "fast"); err != nil {
		t.Fatal(err)
	}
	store, err := find.NewFinder(w.builder.Client.Client).Datastore(t.Context(), "/DC0/datastore/fast")
	if err != nil {
		t.Fatal(err)
	}
	fast := store.Reference().Value
	w.until("it is known where Gold is satisfied", func() bool {
		answer, _ := w.told.last()
		policy, _ := w.named("Gold")
		return cmp.Equal([]string{fast}, answer.Datastores[policy.ID])
	})
	w.until("a policy without rules is satisfied everywhere", func() bool {
		answer, _ := w.told.last()
		policy, _ := w.named("VM Encryption Policy")
		return len(answer.Datastores[policy.ID]) >= 2
	})
}

func TestAssociations(t *testing.T) {
	w := newWorld(t, 20*time.Millisecond)
	t.Parallel()
	gold, bronze := w.policy("Gold"), w.policy("Bronze")
	vm := w.machine(vcentertest.VM{Name: "db", DisksGB: []int64{1, 2, 3}, StoragePolicy: "Gold",
		DiskPolicies: []string{"Gold", "Bronze"}})
	devices, err := vm.Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	disks := devices.SelectByType((*types.VirtualDisk)(nil))
	first, second := disks[0].GetVirtualDevice().Key, disks[1].GetVirtualDevice().Key
	shows := func(what string, want map[string]facts.MachinePolicies) {
		t.Helper()
		w.until(what, func() bool {
			answer, _ := w.told.last()
			return cmp.Equal(want, answer.Machines)
		})
	}
	space := func() int64 {
		answer, _ := w.told.last()
		machine := answer.Machines[vm.Reference().Value]
		if len(machine.Disks) != 2 {
			return 0
		}
		return machine.Disks[1].Space
	}
	w.until("the space of the disk apart is read", func() bool { return space() > 0 })
	id := vm.Reference().Value
	disk := facts.DiskPolicy{Key: second, Policy: bronze, Space: space()}
	shows("created", map[string]facts.MachinePolicies{id: {Home: gold,
		Disks: []facts.DiskPolicy{{Key: first, Policy: gold}, disk}}})

	task, err := vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{
		VmProfile: []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineEmptyProfileSpec{}},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation:     types.VirtualDeviceConfigSpecOperationRemove,
			FileOperation: types.VirtualDeviceConfigSpecFileOperationDestroy, Device: disks[0],
		}},
	})
	if err == nil {
		err = task.WaitEx(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	shows("changed", map[string]facts.MachinePolicies{id: {Disks: []facts.DiskPolicy{disk}}})
	if task, err = vm.Destroy(t.Context()); err == nil {
		err = task.WaitEx(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	shows("destroyed", map[string]facts.MachinePolicies{})
}

// While vCenter is away the last answer stands; with the next login there is a new
// one, long before the interval is over.
func TestVCenterAway(t *testing.T) {
	w := newWorld(t, time.Hour)
	t.Parallel()
	if _, known := (&storagepolicy.Catalogue{}).Policies(); known {
		t.Error("policies are known before any were read")
	}
	w.until("the policies are read", w.has("vSAN Default Storage Policy"))
	for range 3 {
		before, _ := w.catalogue.Answer()
		w.vcenter.Stop()
		w.until("the login is gone", func() bool { return w.session.Err() != nil })
		if after, known := w.catalogue.Answer(); !known || !cmp.Equal(before, after) {
			t.Errorf("while vCenter is away: %v, %+v", known, after)
		}
		if err := w.vcenter.Restart(); err != nil {
			t.Fatal(err)
		}
		w.connect()
		name := "made at " + time.Now().String()
		w.policy(name)
		// The login may have been made before the policy was; then the next one shows it.
		w.vcenter.TerminateSessions()
		w.until("the new policy shows", w.has(name))
		w.connect()
	}
}

// vCenter dies while a reading is under way.
func TestKilledWhileReading(t *testing.T) {
	w := newWorld(t, time.Millisecond)
	t.Parallel()
	w.until("the policies are read", w.has("vSAN Default Storage Policy"))
	before, _ := w.catalogue.Policies()
	for _, method := range []string{"PbmRetrieveServiceContent", "PbmQueryProfile", "PbmRetrieveContent",
		"PbmQueryAssociatedEntities"} {
		w.vcenter.AddFault(vcentertest.Fault{Method: method, Delay: time.Second})
		<-time.After(50 * time.Millisecond)
		w.vcenter.Stop()
		w.vcenter.ClearFaults()
		if err := w.vcenter.Restart(); err != nil {
			t.Fatal(err)
		}
		w.connect()
		w.policy("after " + method)
		w.until("the policies are read after "+method, w.has("after "+method))
	}
	after, _ := w.catalogue.Policies()
	if len(after) != len(before)+4 {
		t.Errorf("%d policies became %d", len(before), len(after))
	}
}

// A refusal is said, with what to do, and leaves what was read last.
func TestRefused(t *testing.T) {
	w := newWorld(t, 20*time.Millisecond)
	t.Parallel()
	w.until("the policies are read", w.has("vSAN Default Storage Policy"))
	before, _ := w.catalogue.Policies()
	refuse := func(fault types.BaseMethodFault) {
		w.log.reset()
		w.vcenter.AddFault(vcentertest.Fault{Method: "PbmQueryProfile", Fault: fault})
		w.until("the refusal is said", func() bool { return w.log.says("StorageProfile.View") })
	}
	stands := func(what string) {
		t.Helper()
		if after, _ := w.catalogue.Policies(); !cmp.Equal(before, after) {
			t.Errorf("%s: %v", what, after)
		}
	}
	refuse(&types.NoPermission{PrivilegeId: "StorageProfile.View"})
	if err := w.builder.StoragePolicy(t.Context(), "Gold", ""); err != nil {
		t.Fatal(err)
	}
	stands("refused by vCenter")
	w.vcenter.ClearFaults()
	w.until("it reads again", w.has("Gold"))

	before, _ = w.catalogue.Policies()
	refuse(&pbmtypes.PbmFaultNoPermission{})
	for _, policy := range before {
		if _, err := w.policies.DeleteProfile(t.Context(), []pbmtypes.PbmProfileId{{UniqueId: policy.ID}}); err != nil {
			t.Fatal(err)
		}
	}
	stands("refused by the policy service")
	w.vcenter.ClearFaults()
	w.until("that there is none at all is not believed", func() bool { return w.log.says("names no storage policy") })
	stands("without any policy")
	w.policy("New")
	w.until("the new one alone is there", func() bool {
		left, _ := w.catalogue.Policies()
		return len(left) == 1 && left[0].Name == "New"
	})
}

// BenchmarkReading reads what machines with two disks each have, from a simulated
// vCenter in the same process.
func BenchmarkReading(b *testing.B) {
	const machines = 500
	w := newWorld(b, time.Hour)
	w.policy("Gold")
	for i := range machines {
		w.machine(vcentertest.VM{Name: fmt.Sprintf("vm-%d", i), DisksGB: []int64{1, 1}, StoragePolicy: "Gold",
			DiskPolicies: []string{"Gold", "Gold"}})
	}
	w.until("the first reading", func() bool { _, known := w.catalogue.Policies(); return known })
	for b.Loop() {
		catalogue := &storagepolicy.Catalogue{Session: w.session, Interval: time.Hour, Logger: klog.Background()}
		changed := catalogue.Changed()
		ctx, cancel := context.WithCancel(b.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = catalogue.Run(ctx) })
		wait(b, changed, "a reading")
		cancel()
		running.Wait()
		if answer, _ := catalogue.Answer(); len(answer.Machines) != machines {
			b.Fatalf("%d machines", len(answer.Machines))
		}
	}
}
