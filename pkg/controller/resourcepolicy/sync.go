// SPDX-License-Identifier: Apache-2.0

package resourcepolicy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
)

// Reasons of Events, and of the condition of machines.
const (
	ReasonNotMade   = "NotMade"
	ReasonMade      = "Made"
	ReasonInUse     = "InUse"
	ReasonLeft      = "LeftInVCenter"
	ReasonNotFound  = "NotFound"
	ReasonNoModules = "ModuleNotReady"
)

// round is one pass over the policies of a namespace.
type round struct {
	*Controller
	namespace string
	policies  []*policy // the oldest first
	machines  []*vmopv1.VirtualMachine
	// inUse are, of each policy that is being deleted, what stands on it still.
	inUse  map[types.UID][]string
	home   Home
	there  bool
	record *record
	// others are the records of other namespaces.
	others map[string]*record
	set    *set
	// again is after how long to look again, zero for when something changes.
	again time.Duration
}

// sync makes one pass over the policies of a namespace.
func (c *Controller) sync(ctx context.Context, namespace string) (time.Duration, error) {
	if namespace == everything {
		return 0, c.resume(ctx)
	}
	r, err := c.begin(ctx, namespace)
	if err != nil || r == nil {
		return 0, err
	}
	var errs []error
	for _, policy := range r.policies {
		if policy.DeletionTimestamp == nil {
			errs = append(errs, r.make(ctx, policy))
		}
	}
	errs = append(errs, r.gather(ctx), r.clear(ctx))
	for _, policy := range r.policies {
		if policy.DeletionTimestamp != nil {
			errs = append(errs, r.end(ctx, policy))
		}
	}
	r.condition()
	return r.again, errors.Join(errs...)
}

// begin returns nil where there is nothing to do.
func (c *Controller) begin(ctx context.Context, namespace string) (*round, error) {
	policies, err := c.Policies.List(ctx, namespace)
	if err != nil {
		return nil, fmt.Errorf("list the resource policies of namespace %q: %w", namespace, err)
	}
	all, err := c.records(ctx)
	if err != nil {
		return nil, err
	}
	r := &round{Controller: c, namespace: namespace, policies: slices.Clone(policies), record: all[namespace],
		others: all, inUse: map[types.UID][]string{}}
	delete(all, namespace)
	if r.record == nil {
		r.record = &record{}
	}
	slices.SortFunc(r.policies, func(a, b *policy) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	r.home, r.there = c.Site.Home(namespace)
	if !r.look() {
		return nil, nil
	}
	return r, nil
}

// look sees who uses the policies, and lets nobody begin to use one that is being deleted. It says whether there is
// anything to do.
func (r *round) look() bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, vm := range r.Controller.machines[r.namespace] {
		r.machines = append(r.machines, vm)
	}
	if len(r.policies)+len(r.machines) == 0 && r.record.empty() {
		delete(r.sets, r.namespace)
		return false
	}
	slices.SortFunc(r.machines, func(a, b *vmopv1.VirtualMachine) int { return cmp.Compare(a.Name, b.Name) })
	r.set = r.of(r.namespace)
	now := r.Clock.Now()
	maps.DeleteFunc(r.set.promises, func(_ string, p promise) bool { return now.After(p.until) })
	uids := map[types.UID]bool{}
	for _, policy := range r.policies {
		uids[policy.UID] = true
		if policy.DeletionTimestamp == nil {
			continue
		}
		r.set.places[policy.UID] = place{ending: true}
		for _, vm := range r.machines {
			if policyOf(vm) == policy.Name {
				r.inUse[policy.UID] = append(r.inUse[policy.UID], vm.Name)
			}
		}
		for _, promise := range r.set.promises {
			if promise.policy == policy.Name {
				r.inUse[policy.UID] = append(r.inUse[policy.UID], "one that is being made")
				r.again = promiseInterval
			}
		}
	}
	maps.DeleteFunc(r.set.places, func(uid types.UID, _ place) bool { return !uids[uid] })
	maps.DeleteFunc(r.set.told, func(uid types.UID, _ string) bool { return !uids[uid] })
	return true
}

// wants are the policies that ask for something still.
func (r *round) wants() []*policy {
	return slices.DeleteFunc(slices.Clone(r.policies), func(p *policy) bool {
		return p.DeletionTimestamp != nil && len(r.inUse[p.UID]) == 0
	})
}

// make makes what a policy asks for, and says in its status what there is.
func (r *round) make(ctx context.Context, policy *policy) error {
	at, status, err := r.realise(ctx, policy)
	if err != nil {
		at.problem = err.Error()
	}
	r.settle(policy.UID, at)
	different := !equality.Semantic.DeepEqual(policy.Status, status)
	switch {
	case err != nil:
		r.tell(policy, corev1.EventTypeWarning, ReasonNotMade, err.Error())
	case different || r.hasTold(policy.UID):
		r.tell(policy, corev1.EventTypeNormal, ReasonMade, "All that it asks for is there in vCenter")
	}
	if different {
		told := r.Policies.Report(ctx, policy.Namespace, policy.Name, policy.UID,
			func(now *vmopv1.VirtualMachineSetResourcePolicy) { now.Status = status })
		if told != nil {
			err = errors.Join(err, fmt.Errorf("say what the resource policy %q has: %w", policy.Name, told))
		}
	}
	return err
}

// settle says where the machines of a policy go, and wakes who waits for that.
func (r *round) settle(uid types.UID, at place) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if was, known := r.set.places[uid]; known && equality.Semantic.DeepEqual(was.pools, at.pools) &&
		was.folder == at.folder && was.problem == at.problem && was.ending == at.ending {
		return
	}
	r.set.places[uid] = at
	close(r.set.changed)
	r.set.changed = make(chan struct{})
}

// end lets go of a policy of which nothing is left.
func (r *round) end(ctx context.Context, policy *policy) error {
	if users := r.inUse[policy.UID]; len(users) > 0 {
		r.tell(policy, corev1.EventTypeNormal, ReasonInUse,
			"It goes when its virtual machines have gone: "+strings.Join(users[:min(len(users), 10)], ", "))
		return nil
	}
	if slices.ContainsFunc(r.record.Modules, func(m module) bool { return m.Policy == policy.UID }) {
		return nil // what went wrong is told already
	}
	for _, thing := range r.record.Things {
		if (policy.Spec.Folder == thing.Name || policy.Spec.ResourcePool.Name == thing.Name) && !r.named(thing) {
			return nil
		}
	}
	err := r.Policies.Release(ctx, policy.Namespace, policy.Name, policy.UID)
	if err != nil {
		return fmt.Errorf("let go of the resource policy %q: %w", policy.Name, err)
	}
	r.Logger.Info("Deleted a resource policy", "namespace", r.namespace, "policy", policy.Name)
	return nil
}

// tell writes an Event of a policy, once for as long as it is so.
func (r *round) tell(policy *policy, eventtype, reason, message string) {
	r.lock.Lock()
	told := r.set.told[policy.UID] == message
	r.set.told[policy.UID] = message
	r.lock.Unlock()
	if told {
		return
	}
	of := policy.DeepCopy()
	of.TypeMeta = metav1.TypeMeta{APIVersion: vmopv1.GroupVersion.String(), Kind: "VirtualMachineSetResourcePolicy"}
	r.Recorder.Event(of, eventtype, reason, message)
}

func (r *round) hasTold(uid types.UID) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.set.told[uid] != ""
}

// promised says whether a place is kept for a machine that is being made.
func (r *round) promised() bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	return len(r.set.promises) > 0
}

// condition says of each machine whether its policy has what the machine is to have by it.
func (r *round) condition() {
	for _, vm := range r.machines {
		condition := metav1.Condition{Type: vmopv1.VirtualMachineConditionVMSetResourcePolicyReady,
			Status: metav1.ConditionTrue, Reason: string(metav1.ConditionTrue)}
		i := slices.IndexFunc(r.policies, func(p *policy) bool { return p.Name == policyOf(vm) })
		switch {
		case i < 0:
			condition.Status, condition.Reason = metav1.ConditionFalse, ReasonNotFound
			condition.Message = fmt.Sprintf("There is no resource policy %q in the namespace any more: the virtual machine "+
				"stays where it is", policyOf(vm))
		case r.problemOf(r.policies[i].UID) != "":
			condition.Status, condition.Reason = metav1.ConditionFalse, ReasonNotMade
			condition.Message = r.problemOf(r.policies[i].UID)
		case r.lacksModule(r.policies[i], vm):
			condition.Status, condition.Reason = metav1.ConditionFalse, ReasonNoModules
			condition.Message = fmt.Sprintf("It is no member of the cluster module of its group %q, named by the annotation %s: "+
				"in its zone %q the resource policy %q has none", groupOf(vm), vmoperator.ModuleGroupAnnotation,
				vm.Status.Zone, policyOf(vm))
		}
		r.Conditions.SetCondition(vm.Namespace, vm.Name, vm.UID, condition)
	}
}

func (r *round) problemOf(uid types.UID) string {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.set.places[uid].problem
}
