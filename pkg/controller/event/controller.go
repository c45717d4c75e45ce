// SPDX-License-Identifier: Apache-2.0

package event

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

// Reasons of Events, beside those of the conditions that they tell of.
const (
	// ReasonOverruled tells that a machine's declared power state, or something else that is declared of it, stands against
	// what somebody did in vCenter.
	ReasonOverruled = "Overruled"
	// ReasonConfiguration tells that something of a machine is as it is declared again, or now.
	ReasonConfiguration = "ConfigurationAsDeclared"
	// ReasonPowerState tells that a machine has its declared power state.
	ReasonPowerState = "PowerStateAsDeclared"
	// ReasonRestarted tells that a machine was restarted as asked for.
	ReasonRestarted = "Restarted"
	// ReasonDeleting tells that something is being taken out of vCenter.
	ReasonDeleting = "Deleting"
	// ReasonCreated tells that a machine that was asked for here is made.
	ReasonCreated = "Created"
	// ReasonRunning tells that all of a vSphere Namespace is there in vCenter.
	ReasonRunning = "Running"
)

// Recorder writes Events, and never waits; record.EventRecorder of client-go does.
type Recorder interface {
	Event(object runtime.Object, eventtype, reason, message string)
}

// History knows who did something in vCenter.
type History interface {
	// Powered names who brought the machine of that uid to a power state just now, empty where nobody knows.
	Powered(ctx context.Context, namespace, name string, uid types.UID,
		state vmopv1.VirtualMachinePowerState) (string, error)
	// Configured names who changed its configuration just now, other than this server, empty where nobody knows.
	Configured(ctx context.Context, namespace, name string, uid types.UID) (string, error)
}

const (
	// settling is how long vCenter is given to note who did something.
	settling = 2 * time.Second
	// patience is how long it may take to say so, and waiting how many may wait for that.
	patience = 5 * time.Second
	waiting  = 10
	// often is how often in a second it is asked at most, and atOnce how often when it was not for a while. What comes
	// more often, as when somebody switches off all machines of a host, is told without a name.
	often, atOnce = 1, 10
)

// Controller tells. Its fields are set before Run and not changed afterwards.
type Controller struct {
	Machines   cache.ListerWatcher // as the API serves them
	Namespaces cache.ListerWatcher // vSphere Namespaces, all of them
	Recorder   Recorder
	// History names who overruled what was declared. Nil: nobody is named.
	History History
	Clock   clock.Clock
	Logger  klog.Logger
}

// news is one thing to tell of.
type news struct {
	eventtype, reason, message string
	// became is the power state that somebody brought a machine to, and changed says that somebody changed how it is
	// configured. Who that was belongs between message and rest.
	became  vmopv1.VirtualMachinePowerState
	changed bool
	rest    string
}

// question is news of a machine of which it is asked who is behind it.
type question struct {
	vm   *vmopv1.VirtualMachine
	news news
	at   time.Time
}

// Run tells until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	questions := make(chan question, waiting)
	limit := flowcontrol.NewTokenBucketPassiveRateLimiterWithClock(often, atOnce, c.Clock)
	_, machines := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: c.Machines, ObjectType: &vmopv1.VirtualMachine{},
		Handler: cache.ResourceEventHandlerFuncs{UpdateFunc: func(old, now any) {
			vm := now.(*vmopv1.VirtualMachine)
			for _, n := range ofMachine(old.(*vmopv1.VirtualMachine), vm) {
				if (n.became != "" || n.changed) && c.History != nil && limit.TryAccept() {
					select {
					case questions <- question{vm, n, c.Clock.Now()}:
						continue
					default:
					}
				}
				c.tell(aboutMachine(vm), n)
			}
		}},
	})
	_, namespaces := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: c.Namespaces, ObjectType: &v1alpha1.Namespace{},
		Handler: cache.ResourceEventHandlerFuncs{UpdateFunc: func(old, now any) {
			namespace := now.(*v1alpha1.Namespace)
			c.tell(aboutNamespace(namespace), ofNamespace(old.(*v1alpha1.Namespace), namespace)...)
		}},
	})
	var running sync.WaitGroup
	running.Go(func() { machines.RunWithContext(ctx) })
	running.Go(func() { namespaces.RunWithContext(ctx) })
	running.Go(func() { c.ask(ctx, questions) })
	running.Wait()
	return nil
}

// ask asks who is behind news, and tells them. Nobody waits for it: it takes a call to vCenter each.
func (c *Controller) ask(ctx context.Context, questions <-chan question) {
	for {
		var q question
		select {
		case q = <-questions:
		case <-ctx.Done():
			return
		}
		timer := c.Clock.NewTimer(settling - c.Clock.Since(q.at))
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return
		}
		vm := q.vm
		limited, cancel := context.WithTimeout(ctx, patience)
		who, err := c.who(limited, q)
		cancel()
		if err != nil {
			c.Logger.V(2).Info("Cannot read who changed a virtual machine in vCenter", "virtualMachine", klog.KObj(vm), "err",
				err.Error())
		}
		if who != "" {
			q.news.message += " by " + who
		}
		c.tell(aboutMachine(vm), q.news)
	}
}

// who is behind news.
func (c *Controller) who(ctx context.Context, q question) (string, error) {
	if q.news.changed {
		return c.History.Configured(ctx, q.vm.Namespace, q.vm.Name, q.vm.UID)
	}
	return c.History.Powered(ctx, q.vm.Namespace, q.vm.Name, q.vm.UID, q.news.became)
}

func (c *Controller) tell(about *corev1.ObjectReference, all ...news) {
	for _, n := range all {
		message := n.message + n.rest
		c.Logger.Info("Told of an object", "kind", about.Kind, "object", klog.KRef(about.Namespace, about.Name),
			"reason", n.reason, "message", message)
		c.Recorder.Event(about, n.eventtype, n.reason, message)
	}
}

func aboutMachine(vm *vmopv1.VirtualMachine) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: vmopv1.GroupVersion.String(), Kind: "VirtualMachine",
		Namespace: vm.Namespace, Name: vm.Name, UID: vm.UID, ResourceVersion: vm.ResourceVersion}
}

func aboutNamespace(namespace *v1alpha1.Namespace) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Namespace",
		Name: namespace.Name, UID: namespace.UID, ResourceVersion: namespace.ResourceVersion}
}

// ofMachine is what there is to tell of a machine that was otherwise before.
func ofMachine(old, now *vmopv1.VirtualMachine) []news {
	if now.UID != old.UID {
		return nil
	}
	var all []news
	if now.DeletionTimestamp != nil && old.DeletionTimestamp == nil {
		all = append(all, news{eventtype: corev1.EventTypeNormal, reason: ReasonDeleting,
			message: "It is switched off, and then destroyed in vCenter with its disks"})
	}
	if now.DeletionTimestamp == nil {
		all = append(all, ofPower(old, now)...)
		all = append(all, ofParts(old, now)...)
		if at := now.Status.LastRestartTime; at != nil && !at.Equal(old.Status.LastRestartTime) {
			all = append(all, news{eventtype: corev1.EventTypeNormal, reason: ReasonRestarted,
				message: "It was restarted, as asked for at " + at.UTC().Format(time.RFC3339)})
		}
		if unmade(old) && !unmade(now) {
			all = append(all, news{eventtype: corev1.EventTypeNormal, reason: ReasonCreated,
				message: "It is there in vCenter, with its disks"})
		}
	}
	return append(all, ofConditions(old.Status.Conditions, now.Status.Conditions, func(condition metav1.Condition) bool {
		switch condition.Type {
		case vmopv1.VirtualMachineToolsCondition, vmopv1.VirtualMachineReconcileReady:
			return false // the guest's own; somebody's own wish, or that of all machines of a host at once
		case vmopv1.VirtualMachinePowerStateSynced, vmopv1.VirtualMachineClassConfigurationSynced,
			vmopv1.VirtualMachineHardwareCDROMVerified, vmopv1.VirtualMachineConditionNetworkReady:
			return condition.Reason != notSynced // told as what it comes from
		case vmopv1.VirtualMachineGuestNetworkConfigSynced:
			return condition.Reason != notSynced && condition.Reason != notTold // the guest's own, or on its way
		case vmopv1.ReadyConditionType:
			return false // that it is as it was asked for, which other conditions say
		case vmopv1.VirtualMachineConditionCreated:
			return condition.Reason != vmoperator.BuildingReason && condition.Reason != vmoperator.CopyingDisksReason
		case vmopv1.VirtualMachineConditionImageReady, vmopv1.VirtualMachineConditionBootstrapReady,
			vmopv1.VirtualMachineConditionStorageReady, vmopv1.VirtualMachineConditionPlacementReady:
			return false // told as what it comes to: that the machine is not made
		}
		return true
	})...)
}

// unmade says that a machine is being made.
func unmade(vm *vmopv1.VirtualMachine) bool {
	return meta.IsStatusConditionFalse(vm.Status.Conditions, vmopv1.VirtualMachineConditionCreated)
}

// notSynced is why the power state, or a part, is not as it is declared while nothing has failed yet, and notTold why a
// guest has not set up what is.
const notSynced, notTold = "NotSynced", "NotTold"

const leaveAlone = "To have it left alone, annotate it with " + vmopv1.PauseAnnotation + ", or set " +
	vmopv1.PauseVMExtraConfigKey + " to true in its advanced configuration parameters in vCenter"

// ofPower tells of changes that somebody made in vCenter to a declared power state, and of its return.
func ofPower(old, now *vmopv1.VirtualMachine) []news {
	declared, before, is := now.Spec.PowerState, old.Status.PowerState, now.Status.PowerState
	switch {
	case declared == "" || before == "" || before == is || old.Spec.PowerState != declared:
		return nil // an undeclared one is what vCenter has, always
	case is == declared:
		return []news{{eventtype: corev1.EventTypeNormal, reason: ReasonPowerState,
			message: fmt.Sprintf("It is %s, as declared", is)}}
	case before != declared:
		return nil // it was on its way
	}
	undone := news{message: fmt.Sprintf("It became %s in vCenter", is), became: is}
	if slices.ContainsFunc(now.Status.Conditions, paused) {
		undone.eventtype, undone.reason = corev1.EventTypeNormal, vmopv1.VirtualMachineReconcilePausedReason
		undone.rest = fmt.Sprintf(", where %s is declared, and is left so since it is paused", declared)
		return []news{undone}
	}
	undone.eventtype, undone.reason = corev1.EventTypeWarning, ReasonOverruled
	undone.rest = fmt.Sprintf(", not through this API. Since %s is declared (spec.powerState), it is brought back to "+
		"that. %s",
		declared, leaveAlone)
	return []news{undone}
}

func paused(condition metav1.Condition) bool {
	return condition.Type == vmopv1.VirtualMachineReconcileReady && condition.Status == metav1.ConditionFalse &&
		condition.Reason == vmopv1.VirtualMachineReconcilePausedReason
}

// ofNamespace is what there is to tell of a vSphere Namespace that was otherwise before.
func ofNamespace(old, now *v1alpha1.Namespace) []news {
	if now.UID != old.UID {
		return nil
	}
	var all []news
	switch {
	case now.DeletionTimestamp != nil && old.DeletionTimestamp == nil:
		all = append(all, news{eventtype: corev1.EventTypeNormal, reason: ReasonDeleting,
			message: "The virtual machines that Pacific made in it are destroyed, and then its folder and resource pools, " +
				"as far as Pacific made them and nothing lies in them"})
	case now.Status.Phase == v1alpha1.NamespaceRunning && old.Status.Phase == v1alpha1.NamespacePending:
		all = append(all, news{eventtype: corev1.EventTypeNormal, reason: ReasonRunning,
			message: "Its folder and resource pools are there in vCenter"})
	}
	return append(all, ofConditions(old.Status.Conditions, now.Status.Conditions, func(condition metav1.Condition) bool {
		// That it is not ready yet, or not any more, is its way; what stands in that way changes the message.
		before := meta.FindStatusCondition(old.Status.Conditions, condition.Type)
		return condition.Type != v1alpha1.NamespaceConditionReady ||
			before != nil && (before.Status == metav1.ConditionTrue && now.DeletionTimestamp == nil ||
				before.Reason == condition.Reason)
	})...)
}

// ofConditions tells of conditions that have become False, or are False for another cause.
func ofConditions(old, now []metav1.Condition, counts func(metav1.Condition) bool) []news {
	var all []news
	for _, condition := range now {
		if condition.Status != metav1.ConditionFalse || !counts(condition) {
			continue
		}
		known := false
		for _, before := range old {
			known = known || before.Type == condition.Type && before.Status == condition.Status &&
				before.Reason == condition.Reason && before.Message == condition.Message
		}
		if !known {
			all = append(all, news{eventtype: corev1.EventTypeWarning, reason: condition.Reason, message: condition.Message})
		}
	}
	return all
}
