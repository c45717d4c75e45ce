// SPDX-License-Identifier: Apache-2.0

package event

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	fcache "k8s.io/client-go/tools/cache/testing"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	on  = vmopv1.VirtualMachinePowerStateOn
	off = vmopv1.VirtualMachinePowerStateOff
)

// machine has a declared power state and a real one, and conditions.
func machine(declared, is vmopv1.VirtualMachinePowerState, conditions ...metav1.Condition) *vmopv1.VirtualMachine {
	vm := &vmopv1.VirtualMachine{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "web-1", UID: "1"}}
	vm.Spec.PowerState, vm.Status.PowerState, vm.Status.Conditions = declared, is, conditions
	return vm
}

func isFalse(conditionType, reason, message string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

func deleting(vm *vmopv1.VirtualMachine) *vmopv1.VirtualMachine {
	vm.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	return vm
}

func TestNewsOfMachines(t *testing.T) {
	failed := isFalse(vmopv1.VirtualMachinePowerStateSynced, "PowerChangeFailed", "no host is left")
	synced := isFalse(vmopv1.VirtualMachinePowerStateSynced, notSynced, "it is PoweredOff where PoweredOn is asked for")
	pausedNow := isFalse(vmopv1.VirtualMachineReconcileReady, vmopv1.VirtualMachineReconcilePausedReason, "paused")
	disconnected := isFalse(vmopv1.VirtualMachineReconcileReady, "VirtualMachineDisconnected", "its host is away")
	tools := isFalse(vmopv1.VirtualMachineToolsCondition, "NotRunning", "they do not run")
	sized := func(class string, restarted int64, conditions ...metav1.Condition) *vmopv1.VirtualMachine {
		vm := machine(on, on, conditions...)
		vm.Spec.ClassName = class
		if restarted > 0 {
			vm.Status.LastRestartTime = &metav1.Time{Time: time.Unix(restarted, 0)}
		}
		return vm
	}
	tooLarge := isFalse(vmopv1.VirtualMachineClassConfigurationSynced, notSynced, "it has 16 CPUs")
	needsOff := isFalse(vmopv1.VirtualMachineClassConfigurationSynced, "NeedsPowerOff", "it has 2 CPUs")
	drives := isFalse(vmopv1.VirtualMachineHardwareCDROMVerified, notSynced, "its drives are others")
	noDisc := isFalse(vmopv1.VirtualMachineHardwareCDROMVerified, "HardwareCDROMMismatch", "its image is gone")
	asDeclared := metav1.Condition{Type: drives.Type, Status: metav1.ConditionTrue, Reason: "True"}
	cards := isFalse(vmopv1.VirtualMachineConditionNetworkReady, notSynced, "that of eth0 is elsewhere")
	noCards := isFalse(cards.Type, "NetworkCardsFailed", "its network is gone")
	guests := isFalse(vmopv1.VirtualMachineGuestNetworkConfigSynced, notSynced, "it has another address")
	untold := isFalse(guests.Type, "TellingFailed", "it is too long")
	with := func(vm *vmopv1.VirtualMachine) *vmopv1.VirtualMachine {
		vm.Spec.Hardware = &vmopv1.VirtualMachineHardwareSpec{}
		return vm
	}
	other := machine(on, on)
	other.UID = "2"
	for _, test := range []struct {
		name     string
		old, now *vmopv1.VirtualMachine
		want     []string
	}{
		{"nothing changed", machine(on, on), machine(on, on), nil},
		{"an admin switched it off", machine(on, on), machine(on, off, synced), []string{"Warning Overruled"}},
		{"an admin made it larger", sized("small", 0), sized("small", 0, tooLarge), []string{"Warning Overruled"}},
		{"and nobody does anything about it", sized("small", 0), sized("small", 0, tooLarge, pausedNow), nil},
		{"somebody declared another class", sized("large", 0), sized("small", 0, tooLarge), nil},
		{"which needs it off", sized("large", 0), sized("small", 0, needsOff), []string{"Warning NeedsPowerOff"}},
		{"an admin changed its drives", machine(on, on), machine(on, on, drives), []string{"Warning Overruled"}},
		{"and they are put back", machine(on, on, drives), machine(on, on, asDeclared), []string{"Normal ConfigurationAsDeclared"}},
		{"its drives follow its power", machine(on, off), machine(on, on, drives), []string{"Normal PowerStateAsDeclared"}},
		{"other drives are declared", machine(on, on), with(machine(on, on, drives)), nil},
		{"an admin moved a card", machine(on, on), machine(on, on, cards), []string{"Warning Overruled"}},
		{"and another one", machine(on, on, cards), machine(on, on, isFalse(cards.Type, notSynced, "it has 1 more")), nil},
		{"its cards cannot be moved back", machine(on, on, cards), machine(on, on, noCards), []string{"Warning NetworkCardsFailed"}},
		{"its guest has other addresses", machine(on, on), machine(on, on, guests), nil},
		{"its guest cannot be told", machine(on, on, guests), machine(on, on, untold), []string{"Warning TellingFailed"}},
		{"its drives cannot be", machine(on, on, drives), machine(on, on, noDisc), []string{"Warning HardwareCDROMMismatch"}},
		{"restarted", sized("small", 0), sized("small", 5), []string{"Normal Restarted"}},
		{"restarted before", sized("small", 5), sized("small", 5), nil},
		{"and Pacific switched it on again", machine(on, off, synced), machine(on, on),
			[]string{"Normal PowerStateAsDeclared"}},
		{"an admin switched it off, and it is paused", machine(on, on), machine(on, off, synced, pausedNow),
			[]string{"Normal " + vmopv1.VirtualMachineReconcilePausedReason}},
		{"it is declared off", machine(on, on), machine(off, on, synced), nil},
		{"nobody declared anything", machine(on, on), machine(off, off), nil},
		{"a step on the way", machine(on, vmopv1.VirtualMachinePowerStateSuspended), machine(on, off), nil},
		{"a change failed", machine(on, off, synced), machine(on, off, failed), []string{"Warning PowerChangeFailed"}},
		{"and failed again", machine(on, off, failed), machine(on, off, failed), nil},
		{"for another cause", machine(on, off, failed), machine(on, off,
			isFalse(failed.Type, failed.Reason, "its disk is locked")), []string{"Warning PowerChangeFailed"}},
		{"its deletion was asked for", machine(on, on), deleting(machine(on, on)), []string{"Normal Deleting"}},
		{"it is switched off for that", deleting(machine(on, on)), deleting(machine(on, off, synced)), nil},
		{"what vCenter does by itself", machine(on, on), machine(on, on, disconnected, tools), nil},
		{"another one of that name", machine(on, off), other, nil},
	} {
		var got []string
		for _, n := range ofMachine(test.old, test.now) {
			got = append(got, n.eventtype+" "+n.reason)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestNewsOfNamespaces(t *testing.T) {
	namespace := func(phase v1alpha1.NamespacePhase, conditions ...metav1.Condition) *v1alpha1.Namespace {
		return &v1alpha1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a", UID: "1"},
			Status: v1alpha1.NamespaceStatus{Phase: phase, Conditions: conditions}}
	}
	ready := metav1.Condition{Type: v1alpha1.NamespaceConditionReady, Status: metav1.ConditionTrue, Reason: "Ready"}
	missing := isFalse(v1alpha1.NamespaceConditionReady, "FolderMissing", "its folder does not lie there any more")
	being := isFalse(v1alpha1.NamespaceConditionReady, "Pending", "it is being made")
	failed := isFalse(v1alpha1.NamespaceConditionReady, "Pending", "the account may not create folders")
	taken := isFalse(v1alpha1.NamespaceConditionNamed, "NameTaken", "a Namespace has the name")
	going := namespace(v1alpha1.NamespaceTerminating, isFalse(v1alpha1.NamespaceConditionReady, "Terminating",
		"it is being deleted"))
	going.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	for _, test := range []struct {
		name     string
		old, now *v1alpha1.Namespace
		want     []string
	}{
		{"all is there", namespace(v1alpha1.NamespacePending), namespace(v1alpha1.NamespaceRunning),
			[]string{"Normal Running"}},
		{"usage", namespace(v1alpha1.NamespaceRunning), namespace(v1alpha1.NamespaceRunning), nil},
		{"it is being made", namespace(v1alpha1.NamespacePending, missing), namespace(v1alpha1.NamespacePending, being), nil},
		{"something is refused", namespace(v1alpha1.NamespacePending, being), namespace(v1alpha1.NamespacePending, failed),
			[]string{"Warning Pending"}},
		{"and again", namespace(v1alpha1.NamespacePending, failed), namespace(v1alpha1.NamespacePending, failed), nil},
		{"its folder was moved away", namespace(v1alpha1.NamespaceRunning, ready),
			namespace(v1alpha1.NamespacePending, missing), []string{"Warning FolderMissing"}},
		{"its name is taken", namespace(v1alpha1.NamespaceRunning, ready), namespace(v1alpha1.NamespaceRunning, ready, taken),
			[]string{"Warning NameTaken"}},
		{"its deletion was asked for", namespace(v1alpha1.NamespaceRunning, ready), going, []string{"Normal Deleting"}},
	} {
		var got []string
		for _, n := range ofNamespace(test.old, test.now) {
			got = append(got, n.eventtype+" "+n.reason)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// told is what a Recorder was given.
type told chan string

func (r told) Event(object runtime.Object, eventtype, reason, _ string) {
	r <- object.GetObjectKind().GroupVersionKind().String() + " " + eventtype + " " + reason
}

// What is there at the start is not news.
func TestRun(t *testing.T) {
	machines, namespaces := fcache.NewFakeControllerSource(), fcache.NewFakeControllerSource()
	machines.Add(machine(on, off, isFalse(vmopv1.VirtualMachinePowerStateSynced, "PowerChangeFailed", "no host is left")))
	namespace := &v1alpha1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a", UID: "1"}}
	namespace.Status.Phase = v1alpha1.NamespacePending
	namespaces.Add(namespace)
	logger, ctx := ktesting.NewTestContext(t)
	ctx, cancel := context.WithCancel(ctx)
	events := make(told, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&Controller{Machines: machines, Namespaces: namespaces, Recorder: events, Clock: clock.RealClock{},
			Logger: logger}).Run(ctx)
	}()
	changed := namespace.DeepCopy()
	waittest.Eventually(t, "the first Event", func() bool {
		// What comes before the informers have begun is the start.
		machines.Modify(machine(on, off))
		machines.Modify(machine(on, on))
		changed.Status.Phase = v1alpha1.NamespacePending
		namespaces.Modify(changed.DeepCopy())
		changed.Status.Phase = v1alpha1.NamespaceRunning
		namespaces.Modify(changed.DeepCopy())
		return len(events) >= 4
	})
	cancel()
	<-done
	close(events)
	for event := range events {
		switch event {
		case "vmoperator.vmware.com/v1alpha5, Kind=VirtualMachine " + corev1.EventTypeNormal + " " + ReasonPowerState,
			"vmoperator.vmware.com/v1alpha5, Kind=VirtualMachine " + corev1.EventTypeWarning + " " + ReasonOverruled,
			"vsphere.openpacific.io/v1alpha1, Kind=Namespace " + corev1.EventTypeNormal + " " + ReasonRunning:
		default:
			t.Errorf("told %s", event)
		}
	}
}
