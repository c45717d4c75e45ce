// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/utils/clock"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/controller/event"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

func TestALeaseLostAndWonAgain(t *testing.T) {
	w := newWorld(t)
	v := vcentertest.Run(t, vcentertest.Options{})
	r := w.start("only", v, nil)
	r.serves("team-a/web-1")
	off := func(vm *vmopv1.VirtualMachine) { vm.Spec.PowerState = vmopv1.VirtualMachinePowerStateOff }
	if err := r.change("team-a/web-1", off); err != nil {
		t.Fatal(err)
	}
	r.powered("team-a/web-1", vmopv1.VirtualMachinePowerStateOff)
	term, err := r.leadership.Ledger.CurrentTerm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, err := r.get("team-a/web-1")
	if err != nil {
		t.Fatal(err)
	}

	// Somebody else leads, without a term yet.
	lease, err := w.etcd.Client().Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	other := fmt.Sprintf("/pacific/leader/%x", lease.ID)
	if _, err := w.etcd.Client().Put(t.Context(), other, "somebody", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	w.loseLease()
	waittest.Eventually(t, "the lead is lost", func() bool { return !r.leadership.Leads() })
	if _, err := r.get("team-a/web-1"); err != nil {
		t.Errorf("a read without the lead: %v", err)
	}
	if err := r.label("team-a/web-1", "refused"); !unavailable(err) {
		t.Errorf("a write without the lead: %v", err)
	}
	// What is declared is not kept meanwhile, and what vCenter says is served.
	calls := v.Calls()
	switchPower(t, v, "team-a/web-1", true)
	r.powered("team-a/web-1", vmopv1.VirtualMachinePowerStateOn)
	if err := (probes{leadership: r.leadership}).leaderReady(nil); err == nil {
		t.Error("it says that it is ready")
	}
	if after := v.Calls(); after["PowerOffVM_Task"] != calls["PowerOffVM_Task"] ||
		after["ShutdownGuest"] != calls["ShutdownGuest"] {
		t.Errorf("the machine was switched off without the lead: %v, before %v", after, calls)
	}

	if _, err := w.etcd.Client().Revoke(t.Context(), lease.ID); err != nil {
		t.Fatal(err)
	}
	r.powered("team-a/web-1", vmopv1.VirtualMachinePowerStateOff)
	if err := r.label("team-a/web-1", "again"); err != nil {
		t.Errorf("a write with the lead: %v", err)
	}
	after, err := r.get("team-a/web-1")
	if err != nil {
		t.Fatal(err)
	}
	if rises, err := higher(after.ResourceVersion, before.ResourceVersion); err != nil || !rises {
		t.Errorf("resourceVersion %s after %s: %v", after.ResourceVersion, before.ResourceVersion, err)
	}
	if now, err := r.leadership.Ledger.CurrentTerm(t.Context()); err != nil || now != term {
		t.Errorf("the term is %d (%v), want %d still", now, err, term)
	}
	r.stop()
	if err := r.ended(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// Each of two replicas sees another vCenter, so that what one makes the other
// unmakes; they never both write.
func TestTwoReplicasNeverBothWrite(t *testing.T) {
	const policy, class = "Gold Storage", "gold-storage"
	w := newWorld(t)
	gold := vcentertest.Run(t, vcentertest.Options{Inventory: func(ctx context.Context, b *vcentertest.Builder) error {
		return errors.Join(vcentertest.Small(ctx, b), b.StoragePolicy(ctx, policy, ""))
	}})
	none := vcentertest.Run(t, vcentertest.Options{Inventory: func(ctx context.Context, b *vcentertest.Builder) error {
		return errors.Join(vcentertest.Small(ctx, b), b.StoragePolicy(ctx, "Bronze Storage", ""))
	}})
	classes := func() []string {
		list, err := w.client("test", vcentertest.Reign{}).StorageV1().StorageClasses().List(t.Context(),
			metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, found := range list.Items {
			names = append(names, found.Name)
		}
		return names
	}

	first := w.start("first", gold, nil)
	first.serves("team-a/web-1")
	waittest.Eventually(t, "the policy may be given", func() bool {
		return first.kinds.namespaces.Inside().Update(t.Context(), "", "team-a", func(namespace *vspherev1.Namespace) {
			namespace.Spec.StoragePolicies = []vspherev1.NamespaceStoragePolicy{{Name: policy}}
		}) == nil
	})
	waittest.Eventually(t, "the first makes the class", func() bool { return slices.Contains(classes(), class) })

	second := w.start("second", none, nil)
	waittest.Eventually(t, "the second stands by", func() bool {
		candidates, err := w.etcd.Client().Get(t.Context(), "/pacific/leader", clientv3.WithPrefix(),
			clientv3.WithCountOnly())
		return err == nil && candidates.Count == 2 && second.site.source.Status().Synced
	})
	if err := second.label("team-a/web-1", "refused"); err == nil {
		t.Error("a standby writes")
	}
	if made := w.by("second"); len(made) > 0 {
		t.Errorf("a standby wrote %v", made)
	}

	w.loseLease()
	waittest.Eventually(t, "the second unmakes the class", func() bool { return !slices.Contains(classes(), class) })
	if err := first.ended(); !errors.Is(err, ledger.ErrSucceeded) {
		t.Errorf("the first ended with %v, want %v", err, ledger.ErrSucceeded)
	}
	second.serves("team-a/web-1")

	// It starts anew, stands by, and leads when the second has ended.
	third := w.start("third", gold, nil)
	waittest.Eventually(t, "the third stands by", func() bool { return third.site.source.Status().Synced })
	if err := second.label("team-a/web-1", "second"); err != nil {
		t.Error(err)
	}
	last, err := second.get("team-a/web-1")
	if err != nil {
		t.Fatal(err)
	}
	second.stop()
	if err := second.ended(); err != nil {
		t.Errorf("the second ended with %v", err)
	}
	third.serves("team-a/web-1")
	waittest.Eventually(t, "the third makes the class again", func() bool { return slices.Contains(classes(), class) })
	now, err := third.get("team-a/web-1")
	if err != nil {
		t.Fatal(err)
	}
	if rises, err := higher(now.ResourceVersion, last.ResourceVersion); err != nil || !rises {
		t.Errorf("resourceVersion %s after %s: %v", now.ResourceVersion, last.ResourceVersion, err)
	}

	// Whoever began to write was the only one from then on.
	w.mu.Lock()
	defer w.mu.Unlock()
	var turns []string
	for _, made := range w.writes {
		if made.replica != "test" && (len(turns) == 0 || turns[len(turns)-1] != made.replica) {
			turns = append(turns, made.replica)
		}
	}
	if !slices.Equal(turns, []string{"first", "second", "third"}) {
		t.Errorf("they wrote in the turns %v: %v", turns, w.writes)
	}
}

// A shutdown under load ends in order, and nothing that was confirmed is lost.
func TestShutdownUnderLoad(t *testing.T) {
	w := newWorld(t)
	v := vcentertest.Run(t, vcentertest.Options{})
	r := w.start("first", v, nil)
	machines := []string{"team-a/web-1", "team-a/db-1", "team-b/cache-1"}
	confirmed := make([]int, len(machines))
	var writers sync.WaitGroup
	for i, name := range machines {
		r.serves(name)
		writers.Go(func() {
			for n := 1; ; n++ {
				if err := r.label(name, fmt.Sprint(n)); err != nil {
					if !unavailable(err) {
						t.Errorf("label %s: %v", name, err)
					}
					if !r.leadership.Leads() {
						return
					}
					continue
				}
				confirmed[i] = n
			}
		})
	}
	waittest.Eventually(t, "load", func() bool { return v.Calls()["ReconfigVM_Task"] > 30 })
	r.stop()
	if err := r.ended(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	writers.Wait()

	next := w.start("next", v, nil)
	for i, name := range machines {
		next.serves(name)
		vm, err := next.get(name)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscan(vm.Labels["n"], &n); err != nil || n < confirmed[i] {
			t.Errorf("%s: write %d was confirmed, and it is at %q (%v)", name, confirmed[i], vm.Labels["n"], err)
		}
	}
}

// Alone, a process that takes a term ends the one before, which writes nothing more.
func TestAloneWhoeverStartsLastReigns(t *testing.T) {
	w := newWorld(t)
	v := vcentertest.Run(t, vcentertest.Options{})
	alone := func(l *ledger.Leadership) { l.Alone = true }
	first := w.start("first", v, alone)
	first.serves("team-a/web-1")
	second := w.start("second", v, alone)
	if err := first.ended(); !errors.Is(err, ledger.ErrSucceeded) {
		t.Errorf("the first ended with %v, want %v", err, ledger.ErrSucceeded)
	}
	second.serves("team-a/web-1")
	if err := second.label("team-a/web-1", "second"); err != nil {
		t.Error(err)
	}
	if err := first.label("team-a/web-1", "first"); !unavailable(err) {
		t.Errorf("a write by whoever was succeeded: %v", err)
	}
	if err := first.leadership.Ledger.Detach(t.Context(), ledger.Detachment{Folder: "group-v1"}); !unavailable(err) {
		t.Errorf("a record by whoever was succeeded: %v", err)
	}
}

// While the inventory cannot be followed, what it showed is served, and nobody acts on it.
func TestNothingIsWrittenByAnOldPicture(t *testing.T) {
	w := newWorld(t)
	v := vcentertest.Run(t, vcentertest.Options{})
	r := w.start("only", v, nil)
	r.serves("team-a/web-1")
	checks := probes{session: r.site.session, inventory: r.site.source}
	if err := errors.Join(checks.inventoryReady(nil), checks.vcenterReady(nil)); err != nil {
		t.Errorf("not ready: %v", err)
	}
	renameFolder(t, v, "/DC0/vm/Namespaces", "Elsewhere")
	waittest.Eventually(t, "the inventory is lost", func() bool { return checks.inventoryReady(nil) != nil })
	if err := checks.vcenterReady(nil); err != nil {
		t.Errorf("vCenter is there: %v", err)
	}
	before := v.Calls()["ReconfigVM_Task"]
	if err := r.label("team-a/web-1", "refused"); !unavailable(err) {
		t.Errorf("a write by what was there: %v", err)
	}
	current, err := r.get("team-a/web-1")
	if err != nil {
		t.Fatalf("a read of what was there: %v", err)
	}
	if after := v.Calls()["ReconfigVM_Task"]; after != before {
		t.Errorf("vCenter was asked to change it %d times", after-before)
	}
	renameFolder(t, v, "/DC0/vm/Elsewhere", "Namespaces")
	r.serves("team-a/web-1")
	if err := r.label("team-a/web-1", "again"); err != nil {
		t.Errorf("a write by what is there: %v", err)
	}
	if now, err := r.get("team-a/web-1"); err != nil || now.UID != current.UID {
		t.Errorf("it is another one: %v", err)
	}
}

// A VI admin who is overruled, and whoever uses the machine, can read why.
func TestOverrulingIsTold(t *testing.T) {
	w := newWorld(t)
	v := vcentertest.Run(t, vcentertest.Options{})
	r := w.start("only", v, nil)
	r.serves("team-a/web-1")
	off := func(vm *vmopv1.VirtualMachine) { vm.Spec.PowerState = vmopv1.VirtualMachinePowerStateOff }
	if err := r.change("team-a/web-1", off); err != nil {
		t.Fatal(err)
	}
	r.powered("team-a/web-1", vmopv1.VirtualMachinePowerStateOff)
	reasons := func() map[string]string {
		list, err := w.client("test", vcentertest.Reign{}).CoreV1().Events("team-a").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, told := range list.Items {
			all[told.Reason] = told.InvolvedObject.Kind + " " + told.InvolvedObject.Name + ": " + told.Message
		}
		return all
	}
	waittest.Eventually(t, "that it is off is told", func() bool { return reasons()[event.ReasonPowerState] != "" })
	if told := reasons()[event.ReasonOverruled]; told != "" {
		t.Errorf("nobody was overruled: %s", told)
	}
	switchPower(t, v, "team-a/web-1", true)
	waittest.Eventually(t, "the overruling is told", func() bool {
		told := reasons()[event.ReasonOverruled]
		return strings.HasPrefix(told, "VirtualMachine web-1: ") &&
			strings.Contains(told, `in vCenter by VSPHERE.LOCAL\administrator, not`) &&
			strings.Contains(told, vmopv1.PauseVMExtraConfigKey)
	})
	r.powered("team-a/web-1", vmopv1.VirtualMachinePowerStateOff)
}

// The tasks of a reign end with it; what fails ends everything.
func TestLifecycle(t *testing.T) {
	w := newWorld(t)
	logger, ctx := ktesting.NewTestContext(t)
	leadership := &ledger.Leadership{
		Ledger: &ledger.Ledger{Client: w.etcd.Client(), Prefix: "/pacific", Clock: clock.RealClock{}}, Identity: "only",
		LeaseSeconds: testLease,
		Backoff:      wait.Backoff{Duration: 10 * time.Millisecond, Factor: 2, Steps: 5}, Logger: logger,
	}
	var mu sync.Mutex
	var said []string
	say := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, what)
	}
	count := func(what string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			n := 0
			for _, s := range said {
				if s == what {
					n++
				}
			}
			return n == 2
		}
	}
	until := func(what string) task {
		return func(ctx context.Context) error {
			say(what)
			<-ctx.Done()
			say(what + " ended")
			return nil
		}
	}
	broken := errors.New("broken")
	breaks := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- lifecycle{
			leadership: leadership,
			ground:     []task{until("ground")},
			always:     []task{until("always")},
			begin:      func(context.Context, uint64) error { say("begin"); return nil },
			serving:    []task{until("serving")},
			reigning: []task{until("reigning"), func(ctx context.Context) error {
				select {
				case <-ctx.Done():
					return nil
				case <-breaks:
					return broken
				}
			}},
		}.run(ctx)
	}()
	waittest.Eventually(t, "a reign", leadership.Leads)
	waittest.Eventually(t, "it begins", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(said, "reigning")
	})
	w.loseLease()
	waittest.Eventually(t, "a second reign", count("reigning"))
	close(breaks)
	select {
	case err := <-done:
		if !errors.Is(err, broken) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
	if last := said[len(said)-1]; last != "ground ended" {
		t.Errorf("%q is what came last", last)
	}
	slices.Sort(said)
	want := []string{"always", "always ended", "begin", "ground", "ground ended", "reigning", "reigning", "reigning ended",
		"reigning ended", "serving", "serving ended"}
	if !slices.Equal(said, want) {
		t.Errorf("ran %v, want %v", said, want)
	}
}

// A client of controllers sends nothing that changes something outside a reign.
func TestWritesInReign(t *testing.T) {
	sent := 0
	next := roundTripper(func(*http.Request) (*http.Response, error) {
		sent++
		return &http.Response{StatusCode: http.StatusOK}, nil
	})
	for _, test := range []struct {
		method string
		reigns bool
		sent   int
	}{
		{http.MethodGet, false, 1}, {http.MethodHead, false, 1}, {http.MethodPost, false, 0}, {http.MethodPut, false, 0},
		{http.MethodPatch, false, 0}, {http.MethodDelete, false, 0}, {http.MethodPost, true, 1}, {http.MethodDelete, true, 1},
	} {
		sent = 0
		request := httptest.NewRequest(test.method, "https://cluster/api", strings.NewReader("{}"))
		_, err := writesInReign{next: next, reign: held(test.reigns)}.RoundTrip(request)
		if sent != test.sent || (err == nil) != (test.sent == 1) || err != nil && !unavailable(err) {
			t.Errorf("%s with reign %v: sent %d, %v", test.method, test.reigns, sent, err)
		}
	}
}
