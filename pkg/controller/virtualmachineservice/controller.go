// SPDX-License-Identifier: Apache-2.0

package virtualmachineservice

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/controller"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// syncTimeout bounds one pass over one service.
	syncTimeout = 30 * time.Second
	workers     = 4
)

// Reasons of Events.
const (
	ReasonNotMade        = "NotMade"
	ReasonMade           = "Made"
	ReasonNoLoadBalancer = "NoLoadBalancer"
	ReasonNoAddress      = "NoAddress"
)

// Services are the services as they are kept. Errors have a failure kind or are an API status.
type Services interface {
	Get(ctx context.Context, namespace, name string) (*vmopv1.VirtualMachineService, error)
	List(ctx context.Context, namespace string) ([]*vmopv1.VirtualMachineService, error)
	// Report changes the status of the service of that uid.
	Report(ctx context.Context, namespace, name string, uid types.UID, change func(*vmopv1.VirtualMachineService)) error
	// Release removes the finalizer from the service of that uid.
	Release(ctx context.Context, namespace, name string, uid types.UID) error
}

// Recorder writes Events, and never waits; record.EventRecorder of client-go does.
type Recorder interface {
	Event(object runtime.Object, eventtype, reason, message string)
}

// Controller makes services come about. Its exported fields are set before Run and not changed afterwards.
type Controller struct {
	// Served and Machines are the services and the machines as the API serves them.
	Served, Machines cache.ListerWatcher

	Services Services
	// Client is kube-apiserver's.
	Client   kubernetes.Interface
	Pool     Pool
	Recorder Recorder
	Logger   klog.Logger

	// giving is held by who gives an address.
	giving sync.Mutex

	lock sync.Mutex
	told map[types.UID]string // guarded by lock
}

// seen is what a Controller sees in one reign.
type seen struct {
	*Controller
	queue              controller.Queue
	services, machines cache.Indexer
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	c.lock.Lock()
	c.told = map[types.UID]string{}
	c.lock.Unlock()
	queue := controller.NewQueue("virtualmachineservice", 200*time.Millisecond, time.Minute)
	s := &seen{Controller: c, queue: queue}
	var watching []cache.Controller
	inform := func(from cache.ListerWatcher, of runtime.Object, handler cache.ResourceEventHandler) cache.Indexer {
		store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
			ListerWatcher: from, ObjectType: of, Handler: handler,
			Indexers: cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		})
		watching = append(watching, informer)
		return store.(cache.Indexer)
	}
	s.services = inform(c.Served, &vmopv1.VirtualMachineService{}, controller.Enqueue(queue, key))
	s.machines = inform(c.Machines, &vmopv1.VirtualMachine{}, cache.ResourceEventHandlerFuncs{
		AddFunc: func(now any) { s.look(nil, now) }, UpdateFunc: s.look, DeleteFunc: func(old any) { s.look(old, nil) },
	})
	// What was made is looked at again when somebody changes it.
	made := informers.NewSharedInformerFactoryWithOptions(c.Client, 0, informers.WithTweakListOptions(
		func(options *metav1.ListOptions) {
			options.LabelSelector = vsphere.ManagedLabel + "=" + vsphere.ManagedBy
		}))
	for _, informer := range []cache.SharedIndexInformer{
		made.Core().V1().Services().Informer(), made.Discovery().V1().EndpointSlices().Informer(),
	} {
		if _, err := informer.AddEventHandler(controller.Enqueue(queue, ownerKey)); err != nil {
			return fmt.Errorf("watch what was made for virtual machine services: %w", err)
		}
	}
	made.StartWithContext(ctx)
	defer made.Shutdown()
	var running sync.WaitGroup
	synced := make([]cache.InformerSynced, len(watching))
	for i, informer := range watching {
		synced[i] = informer.HasSynced
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	defer running.Wait()
	// A machine that is not seen yet must not be taken out of its service.
	if cache.WaitForCacheSync(ctx.Done(), synced...) {
		controller.Worker{
			Timeout: syncTimeout, Sync: s.sync,
			Failed: func(key string, err error) {
				if apierrors.IsConflict(err) {
					return
				}
				c.Logger.Error(err, "Cannot make the virtual machine service, trying again", "service", key)
			},
		}.Work(ctx, queue, workers)
	}
	return nil
}

func key(object metav1.Object) string { return object.GetNamespace() + "/" + object.GetName() }

// ownerKey is the service that something was made for.
func ownerKey(object metav1.Object) string {
	if owner := metav1.GetControllerOf(object); owner != nil && owner.Kind == kind {
		return object.GetNamespace() + "/" + owner.Name
	}
	if name := object.GetLabels()[discoveryv1.LabelServiceName]; name != "" {
		return object.GetNamespace() + "/" + name
	}
	return key(object)
}

// look queues the services that select a machine, or did.
func (s *seen) look(old, now any) {
	if final, ok := old.(cache.DeletedFinalStateUnknown); ok {
		old = final.Obj
	}
	was, _ := old.(*vmopv1.VirtualMachine)
	is, _ := now.(*vmopv1.VirtualMachine)
	if was == nil && is == nil || was != nil && is != nil && same(was, is) {
		return
	}
	namespace := ""
	for _, vm := range []*vmopv1.VirtualMachine{was, is} {
		if vm != nil {
			namespace = vm.Namespace
		}
	}
	services, err := s.services.ByIndex(cache.NamespaceIndex, namespace)
	if err != nil {
		return // there is the index
	}
	for _, object := range services {
		service, ok := object.(*vmopv1.VirtualMachineService)
		if ok && (selects(service, was) || selects(service, is)) {
			s.queue.Add(key(service))
		}
	}
}

// selects says whether a service selects a machine. One without a selector selects none.
func selects(service *vmopv1.VirtualMachineService, vm *vmopv1.VirtualMachine) bool {
	return vm != nil && len(service.Spec.Selector) > 0 &&
		labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(vm.Labels))
}

// same says whether two states of a machine are the same to this package.
func same(was, is *vmopv1.VirtualMachine) bool {
	return was.UID == is.UID && maps.Equal(was.Labels, is.Labels) && was.Status.Zone == is.Status.Zone &&
		(was.DeletionTimestamp == nil) == (is.DeletionTimestamp == nil) && ready(was) == ready(is) &&
		addressOf(was, corev1.IPv4Protocol) == addressOf(is, corev1.IPv4Protocol) &&
		addressOf(was, corev1.IPv6Protocol) == addressOf(is, corev1.IPv6Protocol)
}

func (s *seen) sync(ctx context.Context, key string) (time.Duration, error) {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return 0, err
	}
	service, err := s.Services.Get(ctx, namespace, name)
	switch {
	case errors.Is(err, failure.NotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("get the virtual machine service %q: %w", key, err)
	}
	service = service.DeepCopy()
	if service.DeletionTimestamp != nil {
		return 0, s.end(ctx, service)
	}
	err = s.realise(ctx, service)
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return 0, nil // its own deletion comes next
	}
	if err != nil && !apierrors.IsConflict(err) {
		s.tell(service, corev1.EventTypeWarning, ReasonNotMade, err.Error())
	}
	return 0, err
}

// realise makes what a service is, and says how it is reached.
func (s *seen) realise(ctx context.Context, service *vmopv1.VirtualMachineService) error {
	core, err := s.ensure(ctx, service)
	if err != nil {
		return err
	}
	objects, err := s.machines.ByIndex(cache.NamespaceIndex, service.Namespace)
	if err != nil {
		return err
	}
	var selected []*vmopv1.VirtualMachine
	for _, object := range objects {
		if vm, ok := object.(*vmopv1.VirtualMachine); ok && selects(service, vm) {
			selected = append(selected, vm)
		}
	}
	if err := s.spread(ctx, service, wantedSlices(service, core, selected)); err != nil {
		return err
	}
	if service.Spec.Type != vmopv1.VirtualMachineServiceTypeLoadBalancer {
		s.tell(service, corev1.EventTypeNormal, ReasonMade, "It is as it was asked for")
		return nil
	}
	if !s.Pool.Empty() {
		return s.balance(ctx, service, core)
	}
	ingress := passedOn(core)
	if len(ingress) == 0 && given(service) == "" {
		s.tell(service, corev1.EventTypeWarning, ReasonNoLoadBalancer, "It has no address from outside unless the cluster has a "+
			"load balancer of its own: an administrator sets addresses aside by the flag --load-balancer-addresses of "+
			"vsphere-apiserver, or of supervisor up")
	}
	if slices.Equal(ingress, service.Status.LoadBalancer.Ingress) {
		return nil
	}
	return s.Services.Report(ctx, service.Namespace, service.Name, service.UID, func(now *vmopv1.VirtualMachineService) {
		now.Status.LoadBalancer.Ingress = ingress
	})
}

// balance gives a service an address out of the pool.
func (s *seen) balance(ctx context.Context, service *vmopv1.VirtualMachineService, core *corev1.Service) error {
	address, err := s.address(ctx, service)
	switch failure.KindOf(err) {
	case failure.Invalid, failure.AlreadyExists, failure.ResourceExhausted:
		s.tell(service, corev1.EventTypeWarning, ReasonNoAddress, err.Error())
		return err
	}
	if err != nil {
		return err
	}
	if err := s.publish(ctx, core, address); err != nil {
		return err
	}
	s.tell(service, corev1.EventTypeNormal, ReasonMade, "It is as it was asked for, from outside at "+address)
	return nil
}

// end takes away what was made for a service, and lets go of it.
func (s *seen) end(ctx context.Context, service *vmopv1.VirtualMachineService) error {
	client := s.Client.CoreV1().Services(service.Namespace)
	core, err := client.Get(ctx, service.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("get the core Service %q: %w", service.Name, err)
	case owns(service, core):
		err := client.Delete(ctx, core.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &core.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete the core Service %q: %w", service.Name, err)
		}
	}
	if err := s.spread(ctx, service, nil); err != nil {
		return err
	}
	if err := s.Services.Release(ctx, service.Namespace, service.Name, service.UID); err != nil {
		return fmt.Errorf("let go of the virtual machine service %q: %w", service.Name, err)
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.told, service.UID)
	return nil
}

// tell writes an Event of a service, once for as long as it is so, and that all is well only after something was not.
func (c *Controller) tell(service *vmopv1.VirtualMachineService, eventtype, reason, message string) {
	c.lock.Lock()
	was, known := c.told[service.UID]
	c.told[service.UID] = message
	c.lock.Unlock()
	if was != message && (known || reason != ReasonMade) {
		c.announce(service, eventtype, reason, message)
	}
}

func (c *Controller) announce(service *vmopv1.VirtualMachineService, eventtype, reason, message string) {
	of := service.DeepCopy()
	of.TypeMeta = metav1.TypeMeta{APIVersion: vmopv1.GroupVersion.String(), Kind: kind}
	c.Recorder.Event(of, eventtype, reason, message)
}
