// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	// callsOfACreate are the most that a machine of one disk may cost vCenter: half as many again as CreateVM, a copy,
	// ReconfigVM and PowerOn, and the reading before the machine is powered on.
	callsOfACreate = 6 + 1
	// acceptedGoal and poweredGoal are how long machines that are asked for at once may take.
	acceptedGoal, poweredGoal = 20 * time.Second, 90 * time.Second
	// answerGoal is how much longer the answer to a create may take than that of vCenter, at the median.
	answerGoal = 20 * time.Millisecond
	// callsOfAStart are the most that a process which begins costs vCenter, however many machines there are.
	callsOfAStart = 60
	// quietTime is longer than the view of tasks is left alone, so that the next create finds a Supervisor that is idle.
	quietTime = 200 * time.Millisecond
	// settleTime is how long a Supervisor may have things to do after something happened.
	settleTime = 5 * time.Second
)

// loaded is a Supervisor of which much is asked.
type loaded struct {
	*maker
	machines dynamic.ResourceInterface
}

func newLoaded(t *testing.T, name string, inventory vcentertest.Inventory) *loaded {
	t.Helper()
	f := newFaultyOn(t, name, vcentertest.Options{Password: "Correct-Horse-7", Inventory: inventory,
		GuestsStart: 100 * time.Millisecond})
	f.up(t)
	t.Cleanup(func() { f.down(t) })
	f.ready(t)
	m := &maker{faulty: f, t: t, namespace: f.Shop(t, name)}
	return &loaded{maker: m, machines: f.Dynamic(t).Resource(supervisortest.Machines).Namespace(m.namespace)}
}

// ask asks for a machine and returns how long the answer took.
func (l *loaded) ask(ctx context.Context, name string) (time.Duration, error) {
	vm := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "vmoperator.vmware.com/v1alpha5", "kind": "VirtualMachine",
		"metadata": map[string]any{"name": name, "namespace": l.namespace},
		"spec": map[string]any{
			"className": "best-effort-small", "imageName": "ubuntu-24.04", "storageClass": "gold-storage",
			"bootstrap": map[string]any{"cloudInit": map[string]any{
				"rawCloudConfig": map[string]any{"name": "web", "key": "user-data"},
			}},
		},
	}}
	began := time.Now()
	_, err := l.machines.Create(ctx, vm, metav1.CreateOptions{})
	return time.Since(began), err
}

// askAll asks for so many machines at once and waits until all are accepted.
func (l *loaded) askAll(prefix string, count int) {
	l.t.Helper()
	var asking errgroup.Group
	for i := range count {
		asking.Go(func() error {
			_, err := l.ask(l.t.Context(), fmt.Sprintf("%s-%d", prefix, i))
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		l.t.Fatal(err)
	}
}

// on waits until so many machines whose names begin so are on and Ready.
func (l *loaded) on(within time.Duration, prefix string, count int) {
	l.t.Helper()
	waittest.Within(l.t, within, fmt.Sprintf("%d machines %s-… to be on", count, prefix), func(ctx context.Context) error {
		list, err := l.machines.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		on := 0
		other := errors.New("no other")
		for _, vm := range list.Items {
			if !strings.HasPrefix(vm.GetName(), prefix+"-") {
				continue
			}
			if err := isOn(&vm); err != nil {
				other = err
				continue
			}
			on++
		}
		if on != count {
			return fmt.Errorf("there are %d; %w", on, other)
		}
		return nil
	})
}

// isOn says why a machine is not made and on, nil when it is.
func isOn(vm *unstructured.Unstructured) error {
	state, _, _ := unstructured.NestedString(vm.Object, "status", "powerState")
	created := condition(vm, "VirtualMachineCreated")
	if state != "PoweredOn" || created["status"] != "True" {
		return fmt.Errorf("%s is %q: %v", vm.GetName(), state, created["message"])
	}
	return nil
}

func condition(vm *unstructured.Unstructured, kind string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(vm.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == kind {
			return c
		}
	}
	return nil
}

// nothingLeft says what there is of a machine in vCenter, nil for nothing.
func (l *loaded) nothingLeft(a *supervisortest.Admin, name string) error {
	l.t.Helper()
	finder := find.NewFinder(a.Builder.Client.Client)
	path := "/DC0/vm/Namespaces/" + l.namespace + "/" + name
	var none *find.NotFoundError
	if _, err := finder.VirtualMachine(l.t.Context(), path); !errors.As(err, &none) {
		return fmt.Errorf("%s is there, or nobody knows: %v", path, err)
	}
	for _, datastore := range []string{"nfs-fast", "nfs-bulk"} {
		store, err := finder.Datastore(l.t.Context(), "/DC0/datastore/"+datastore)
		if err != nil {
			return err
		}
		if files := l.files(store, []string{name}); len(files) > 0 {
			return fmt.Errorf("on %s there is %v", datastore, files)
		}
	}
	return nil
}

// counted are the calls of a recording without those that count for nobody: the streams of changes, and the change of
// the view of tasks, of which there is one for many.
func counted(r *fault.Recording) (map[string]int, int) {
	counts := r.Counts()
	delete(counts, "WaitForUpdatesEx")
	delete(counts, "ModifyListView")
	maps.DeleteFunc(counts, func(method string, _ int) bool { return polled(method) })
	all := 0
	for _, count := range counts {
		all += count
	}
	return counts, all
}

// polled says whether a call is one of those that ask vCenter again and again for what it tells of by itself to nobody:
// its content libraries and storage policies.
func polled(method string) bool {
	return strings.Contains(method, " ") || strings.HasPrefix(method, "Pbm")
}

// standing is an inventory with the samples and so many machines more, which nobody made through Pacific.
func standing(count int) vcentertest.Inventory {
	return func(ctx context.Context, b *vcentertest.Builder) error {
		if err := vcentertest.Sample(ctx, b); err != nil {
			return err
		}
		if err := b.Folder(ctx, "Namespaces/standing"); err != nil {
			return err
		}
		for i := range count {
			_, err := b.VirtualMachine(ctx, vcentertest.VM{Name: fmt.Sprintf("standing-%d", i), Folder: "Namespaces/standing",
				Cluster: "cluster-b", Datastore: "nfs-bulk", CPUs: 1, MemoryMB: 1024, GuestID: "ubuntu64Guest"})
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// TestManyMachines asks for machines one by one and then for many at once: what it costs vCenter, and how long it takes.
// CREATES says how many are asked for at once.
func TestManyMachines(t *testing.T) {
	l := newLoaded(t, "load", vcentertest.Sample)
	count := number(t, "CREATES", 50)
	l.askAll("first", 1) // reads what is read once
	l.on(time.Minute, "first", 1)

	const rounds = 11
	recording := l.vcenter.Record()
	var answers []time.Duration
	for i := range rounds {
		answered, err := l.ask(t.Context(), fmt.Sprintf("single-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answered)
		l.on(time.Minute, "single", i+1)
		listen(t, quietTime)
	}
	recording.Stop()
	// Whether the login still holds may be asked meanwhile.
	counts, all := counted(recording)
	if t.Logf("%d creates, one after the other, took %d calls: %v", rounds, all, counts); all > rounds*callsOfACreate+2 {
		t.Errorf("that is more than %d each", callsOfACreate)
	}
	bare := l.bare(rounds)
	t.Logf("the first answer of create came after %s, that of a bare CreateVM_Task after %s, at the median (goal: %s more)",
		median(answers).Round(100*time.Microsecond), bare.Round(100*time.Microsecond), answerGoal)

	recording = l.vcenter.Record()
	began := time.Now()
	l.askAll("many", count)
	accepted := time.Since(began)
	l.on(slack*poweredGoal, "many", count)
	powered := time.Since(began)
	recording.Stop()
	counts, all = counted(recording)
	t.Logf("%d creates at once: accepted after %s (goal %s), on after %s (goal %s), with %d calls: %v; streams and view: %v",
		count, accepted.Round(time.Millisecond), acceptedGoal, powered.Round(time.Millisecond), poweredGoal, all, counts,
		only(recording.Counts(), "WaitForUpdatesEx", "ModifyListView"))
	// What vCenter takes more than a second to tell of is read on purpose. Here that says how busy this machine is.
	if most := count*callsOfACreate + 2; all > most && powered < time.Duration(count)*time.Second/10 {
		t.Errorf("that is more than %d each", callsOfACreate)
	}
	if accepted > slack*acceptedGoal {
		t.Errorf("they were accepted after %s", accepted)
	}
	if most := 2 + int(powered/(100*time.Millisecond)); recording.Counts()["ModifyListView"] > most {
		t.Errorf("the view of tasks was changed more often than every 100 ms")
	}
}

// bare is how long CreateVM_Task takes by itself, at the median.
func (l *loaded) bare(rounds int) time.Duration {
	l.t.Helper()
	ctx := l.t.Context()
	client := l.Admin(l.t).Builder.Client.Client
	finder := find.NewFinder(client)
	folder, err := finder.Folder(ctx, "/DC0/vm/Infrastructure")
	if err != nil {
		l.t.Fatal(err)
	}
	pool, err := finder.ResourcePool(ctx, "/DC0/host/cluster-a/Resources")
	if err != nil {
		l.t.Fatal(err)
	}
	var took []time.Duration
	for i := range rounds {
		began := time.Now()
		task, err := folder.CreateVM(ctx, types.VirtualMachineConfigSpec{
			Name: fmt.Sprintf("bare-%d", i), GuestId: "ubuntu64Guest", NumCPUs: 2, MemoryMB: 4096,
			Files: &types.VirtualMachineFileInfo{VmPathName: "[nfs-fast]"},
		}, pool, nil)
		if err == nil {
			err = task.WaitEx(ctx)
		}
		if err != nil {
			l.t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	return median(took)
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// TestIdleMachines: machines that stay as they are cost vCenter nothing, when a process begins and all controllers look
// at each, and afterwards. STANDING says how many there are, IDLE_SECONDS for how long nothing happens.
func TestIdleMachines(t *testing.T) {
	others := number(t, "STANDING", 200)
	l := newLoaded(t, "idle", standing(others))
	l.askAll("mine", 3)
	l.on(time.Minute, "mine", 3)
	recording := l.vcenter.Record()
	l.Kill(t, "vsphere-apiserver")
	l.ready(t)
	listen(t, settleTime)
	recording.Stop()
	counts, all := counted(recording)
	t.Logf("with %d machines a process begins with %d calls: %v", others+3, all, counts)
	if all > callsOfAStart {
		t.Errorf("that is more than %d", callsOfAStart)
	}

	idle := time.Duration(number(t, "IDLE_SECONDS", 20)) * time.Second
	recording = l.vcenter.Record()
	listen(t, idle)
	recording.Stop()
	t.Logf("with %d machines the calls of %s in which nothing happens are %v", others+3, idle, recording.Counts())
	counts, _ = counted(recording)
	if most := 2 + int(idle/(10*time.Second)); counts["RetrievePropertiesEx"] <= most {
		delete(counts, "RetrievePropertiesEx") // whether the login still holds
	}
	if len(counts) > 0 {
		t.Errorf("vCenter was asked for %v", counts)
	}
}

func only(counts map[string]int, methods ...string) map[string]int {
	kept := map[string]int{}
	for _, method := range methods {
		kept[method] = counts[method]
	}
	return kept
}

// listen lets time go by.
func listen(t *testing.T, how time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), how)
	defer cancel()
	<-ctx.Done()
}
