// SPDX-License-Identifier: Apache-2.0

package resourcepolicy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/controller"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// syncTimeout bounds one pass over the policies of a namespace.
	syncTimeout = 2 * time.Minute
	workers     = 4
	// promised is for how long a place is kept for a machine that is being made and does not show. A request to make one
	// takes half a minute at most.
	promised = 5 * time.Minute
	// promiseInterval is how often it is looked whether a machine that is being made shows.
	promiseInterval = time.Second
	// patience is how long Use waits for what a policy asks for.
	patience = 10 * time.Second
)

type policy = vmopv1.VirtualMachineSetResourcePolicy

// Policies are the policies as they are kept. Errors have a failure kind or are an API status.
type Policies interface {
	Get(ctx context.Context, namespace, name string) (*policy, error)
	List(ctx context.Context, namespace string) ([]*policy, error)
	// Report changes the status of the policy of that uid.
	Report(ctx context.Context, namespace, name string, uid types.UID, change func(*policy)) error
	// Release removes the finalizer from the policy of that uid.
	Release(ctx context.Context, namespace, name string, uid types.UID) error
}

// Conditions shows conditions on machines.
type Conditions interface {
	SetCondition(namespace, name string, uid types.UID, condition metav1.Condition)
	ClearCondition(namespace, name string, uid types.UID, conditionType string)
}

// Home is what a namespace has in vCenter.
type Home struct {
	Folder facts.ID
	// Zones are those in which it has a resource pool.
	Zones map[string]Zone
}

// Zone is a namespace's part of a cluster.
type Zone struct {
	Pool, Cluster facts.ID
	// MHz is how fast a CPU is there at least, 0 where nothing tells.
	MHz int32
	// CPU, in MHz, and Memory, in MiB, are what is kept for the namespace's pool.
	CPU, Memory int64
}

// Site knows what namespaces have in vCenter.
type Site interface {
	// Home is false where a namespace has no folder, yet or any more.
	Home(namespace string) (Home, bool)
	// Strayed says that a folder or a pool is known to lie in another one than that.
	Strayed(id, parent facts.ID) bool
}

// Folders acts on folders; folder.Verbs does.
type Folders interface {
	Named(ctx context.Context, parent facts.ID, name string) (facts.Container, error)
	Create(ctx context.Context, parent facts.ID, name string) (facts.ID, error)
	Destroy(ctx context.Context, id facts.ID, still func(facts.Container) error) error
}

// Pools acts on resource pools; pool.Verbs does.
type Pools interface {
	Named(ctx context.Context, parent facts.ID, name string) (facts.Container, error)
	Create(ctx context.Context, parent facts.ID, name string, cpu, memory facts.Allocation) (facts.ID, error)
	Destroy(ctx context.Context, id facts.ID, still func(facts.Container) error) error
}

// Modules acts on cluster modules; clustermodule.Verbs does.
type Modules interface {
	In(ctx context.Context, cluster facts.ID) ([]string, error)
	Create(ctx context.Context, cluster facts.ID) (string, error)
	Members(ctx context.Context, cluster facts.ID, id string) ([]facts.ID, error)
	Add(ctx context.Context, id string, machines ...facts.ID) error
	Remove(ctx context.Context, id string, machines ...facts.ID) error
	Destroy(ctx context.Context, cluster facts.ID, id string, still func(members []facts.ID) error) error
}

// Recorder writes Events, and never waits; record.EventRecorder of client-go does.
type Recorder interface {
	Event(object runtime.Object, eventtype, reason, message string)
}

// Controller makes what policies ask for. Its exported fields are set before Run and not changed afterwards.
type Controller struct {
	// Served, Machines and Namespaces are the policies, machines and vSphere Namespaces as the API serves them.
	Served, Machines, Namespaces cache.ListerWatcher

	Policies   Policies
	Conditions Conditions
	Site       Site
	Folders    Folders
	Pools      Pools
	Modules    Modules
	Documents  Documents
	Recorder   Recorder
	Clock      clock.Clock
	Logger     klog.Logger

	// making is held by who makes a module: so one alone is being made, and is known again after a death.
	making sync.Mutex

	lock sync.Mutex // guards what follows
	// queue is nil while nothing runs.
	queue controller.Queue
	// machines are those that name a policy, or a group of one, by namespace and uid.
	machines map[string]map[types.UID]*vmopv1.VirtualMachine
	sets     map[string]*set
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	queue := controller.NewQueue("resourcepolicy", 200*time.Millisecond, time.Minute)
	c.lock.Lock()
	c.queue, c.sets = queue, map[string]*set{}
	c.machines = map[string]map[types.UID]*vmopv1.VirtualMachine{}
	c.lock.Unlock()
	byNamespace := func(object metav1.Object) string { return object.GetNamespace() }
	informers := []cache.Controller{
		inform(c.Served, &policy{}, controller.Enqueue(queue, byNamespace)),
		inform(c.Machines, &vmopv1.VirtualMachine{}, cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { c.see(nil, object) },
			UpdateFunc: c.see,
			DeleteFunc: func(object any) { c.see(object, nil) },
		}),
		inform(c.Namespaces, &vspherev1.Namespace{}, c.homes(queue)),
	}
	var running sync.WaitGroup
	synced := make([]cache.InformerSynced, len(informers))
	for i, informer := range informers {
		synced[i] = informer.HasSynced
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	defer running.Wait()
	// A machine that is not seen yet must not be taken for one that is gone.
	if cache.WaitForCacheSync(ctx.Done(), synced...) {
		queue.Add(everything)
		controller.Worker{
			Timeout: syncTimeout, Sync: c.sync,
			Failed: func(key string, err error) {
				c.Logger.Error(err, "Cannot make what resource policies ask for, trying again", "namespace", key)
			},
		}.Work(ctx, queue, workers)
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.queue = nil
	return nil
}

// everything is the key by which all is looked at of which something is left from before. No namespace is called so.
const everything = ""

func (c *Controller) resume(ctx context.Context) error {
	all, err := c.records(ctx)
	c.lock.Lock()
	defer c.lock.Unlock()
	for namespace := range all {
		c.queue.Add(namespace)
	}
	return err
}

func inform(from cache.ListerWatcher, of runtime.Object, handler cache.ResourceEventHandlerFuncs) cache.Controller {
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: from, ObjectType: of, Handler: handler,
	})
	return informer
}

// homes queues the namespaces that have something else in vCenter than before.
func (c *Controller) homes(queue controller.Queue) cache.ResourceEventHandlerFuncs {
	add := func(object any) {
		if namespace, ok := object.(*vspherev1.Namespace); ok {
			queue.Add(namespace.Name)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: add, DeleteFunc: add,
		UpdateFunc: func(old, now any) {
			was, ok := old.(*vspherev1.Namespace)
			is, also := now.(*vspherev1.Namespace)
			if ok && also && was.Status.Folder == is.Status.Folder && slices.Equal(was.Status.Zones, is.Status.Zones) {
				return
			}
			add(now)
		},
	}
}

// see notes a machine, and has its namespace looked at when something is different that matters here.
func (c *Controller) see(old, now any) {
	if final, ok := old.(cache.DeletedFinalStateUnknown); ok {
		old = final.Obj
	}
	was, _ := old.(*vmopv1.VirtualMachine)
	is, _ := now.(*vmopv1.VirtualMachine)
	if was == nil && is == nil {
		utilruntime.HandleError(fmt.Errorf("see a machine: got a %T and a %T", old, now))
		return
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.queue == nil {
		return
	}
	if was != nil && (is == nil || is.UID != was.UID) {
		delete(c.machines[was.Namespace], was.UID)
	}
	namespace := ""
	if is != nil {
		namespace = is.Namespace
		c.arrived(is)
	} else {
		namespace = was.Namespace
	}
	if policyOf(was) == "" && policyOf(is) == "" || same(was, is) {
		return
	}
	c.queue.Add(namespace)
}

// arrived keeps a machine that names a policy. The caller holds lock.
func (c *Controller) arrived(vm *vmopv1.VirtualMachine) {
	if set := c.sets[vm.Namespace]; set != nil {
		delete(set.promises, strings.ToLower(string(vm.UID)))
	}
	if policyOf(vm) == "" {
		delete(c.machines[vm.Namespace], vm.UID)
		return
	}
	if c.machines[vm.Namespace] == nil {
		c.machines[vm.Namespace] = map[types.UID]*vmopv1.VirtualMachine{}
	}
	c.machines[vm.Namespace][vm.UID] = vm
}

func policyOf(vm *vmopv1.VirtualMachine) string {
	if vm == nil || vm.Spec.Reserved == nil {
		return ""
	}
	return vm.Spec.Reserved.ResourcePolicyName
}

func groupOf(vm *vmopv1.VirtualMachine) string {
	return vm.Annotations[vmoperator.ModuleGroupAnnotation]
}

// same says whether two states of a machine are the same to this package.
func same(was, is *vmopv1.VirtualMachine) bool {
	return was != nil && is != nil && was.UID == is.UID && policyOf(was) == policyOf(is) &&
		groupOf(was) == groupOf(is) && was.Status.Zone == is.Status.Zone && was.Status.UniqueID == is.Status.UniqueID &&
		(was.DeletionTimestamp == nil) == (is.DeletionTimestamp == nil)
}

var errNotRunning = fmt.Errorf("this server does not make what resource policies ask for now: %w", failure.Unavailable)
