// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/guestaddress"
)

// again is how often guests are told their ports when nothing changes: vCenter may have begun anew.
const again = 5 * time.Second

// Balancer is one. Its fields are set before Run.
type Balancer struct {
	Client  kubernetes.Interface
	Network guestaddress.Network
	// Tell tells the guests their ports, and returns the sentences about those that cannot be.
	Tell func(ctx context.Context, ports map[netip.Addr][]uint16) (problems []string, err error)
	// Say tells the user something.
	Say func(format string, args ...any)

	services  corelisters.ServiceLister
	endpoints discoverylisters.EndpointSliceLister
	fronts    fronts
	said      map[string]bool
}

// Run listens and passes on until ctx is done. Where the system has not the network it says so, and returns.
func (b *Balancer) Run(ctx context.Context) {
	if err := b.Network.Lacking(); err != nil {
		b.Say("simulated guests answer nobody, and services of type LoadBalancer neither: %v", err)
		return
	}
	factory := informers.NewSharedInformerFactoryWithOptions(b.Client, 0, informers.WithTweakListOptions(
		func(options *metav1.ListOptions) { options.LabelSelector = managed }))
	slices := informers.NewSharedInformerFactoryWithOptions(b.Client, 0, informers.WithTweakListOptions(
		func(options *metav1.ListOptions) {
			options.LabelSelector = discoveryv1.LabelManagedBy + "=" + vsphere.ManagedBy
		}))
	b.services = factory.Core().V1().Services().Lister()
	b.endpoints = slices.Discovery().V1().EndpointSlices().Lister()
	changed := make(chan struct{}, 1)
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { notify(changed) }, UpdateFunc: func(any, any) { notify(changed) },
		DeleteFunc: func(any) { notify(changed) },
	}
	// It fails for informers that have ended only.
	_, _ = factory.Core().V1().Services().Informer().AddEventHandler(handler)
	_, _ = slices.Discovery().V1().EndpointSlices().Informer().AddEventHandler(handler)
	factory.StartWithContext(ctx)
	slices.StartWithContext(ctx)
	defer factory.Shutdown()
	defer slices.Shutdown()
	defer b.fronts.close()
	factory.WaitForCacheSyncWithContext(ctx)
	slices.WaitForCacheSyncWithContext(ctx)
	ticker := time.NewTicker(again)
	defer ticker.Stop()
	for ctx.Err() == nil {
		b.sync(ctx)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-ticker.C:
		}
	}
}

// managed selects the core Services that Pacific makes of VirtualMachineServices.
const managed = vsphere.ManagedLabel + "=" + vsphere.ManagedBy

func notify(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// sync has everything be as Kubernetes tells it.
func (b *Balancer) sync(ctx context.Context) {
	wanted, ports, problems := b.wanted()
	problems = append(problems, b.fronts.set(wanted, b.Network)...)
	telling, cancel := context.WithTimeout(ctx, again)
	defer cancel()
	unheard, err := b.Tell(telling, ports)
	if err == nil { // else it is tried again, and vCenter's absence is told by others
		problems = append(problems, unheard...)
	}
	now := map[string]bool{}
	for _, problem := range problems {
		if now[problem] = true; !b.said[problem] {
			b.Say("%s", problem)
		}
	}
	b.said = now
}

// wanted is where to listen and what for, and which ports services lead to, by the addresses of guests.
func (b *Balancer) wanted() (fronts map[netip.AddrPort]front, ports map[netip.Addr][]uint16, problems []string) {
	fronts, ports = map[netip.AddrPort]front{}, map[netip.Addr][]uint16{}
	// Listers of a cache do not fail.
	all, _ := b.services.List(labels.Everything())
	slices.SortFunc(all, func(a, b *corev1.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for _, service := range all {
		leads, _ := b.endpoints.EndpointSlices(service.Namespace).List(
			labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service.Name}))
		for _, slice := range leads {
			for _, port := range slice.Ports {
				for _, endpoint := range slice.Endpoints {
					if at, ok := addressOf(endpoint); ok && port.Port != nil && isTCP(port.Protocol) {
						ports[at] = append(ports[at], uint16(*port.Port))
					}
				}
			}
		}
		if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			at, problem := b.listens(service, ingress.IP)
			if problem != "" {
				problems = append(problems, problem)
				continue
			}
			for _, port := range service.Spec.Ports {
				if !isTCP(&port.Protocol) {
					problems = append(problems, fmt.Sprintf("the service %s/%s does not answer on its port %d: only TCP is passed on "+
						"here", service.Namespace, service.Name, port.Port))
					continue
				}
				fronts[netip.AddrPortFrom(at, uint16(port.Port))] = front{
					service: service.Namespace + "/" + service.Name, ready: ready(leads, port.Name), from: sources(service)}
			}
		}
	}
	for at := range ports {
		slices.Sort(ports[at])
		ports[at] = slices.Compact(ports[at])
	}
	return fronts, ports, problems
}

// listens is where the address of a service is listened on: those of the loopback interface are themselves.
func (b *Balancer) listens(service *corev1.Service, address string) (at netip.Addr, problem string) {
	at, err := netip.ParseAddr(address)
	if err == nil && at.IsLoopback() {
		return at, ""
	}
	if reached, is := b.Network.Of(at); err == nil && is {
		return reached, ""
	}
	return at, fmt.Sprintf("nobody listens on %s, the address of the service %s/%s: on a simulated vCenter only addresses of "+
		"this computer are served, such as %s", address, service.Namespace, service.Name, b.Network.Addresses())
}

// ready are the guests that a port of a service leads to.
func ready(leads []*discoveryv1.EndpointSlice, name string) []netip.AddrPort {
	found := map[netip.AddrPort]bool{}
	for _, slice := range leads {
		for _, port := range slice.Ports {
			if port.Port == nil || ptr.Deref(port.Name, "") != name {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if at, ok := addressOf(endpoint); ok && ptr.Deref(endpoint.Conditions.Ready, false) {
					found[netip.AddrPortFrom(at, uint16(*port.Port))] = true
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), netip.AddrPort.Compare)
}

// sources are the networks that may connect to a service, none for all. What is no network lets nobody in.
func sources(service *corev1.Service) (networks []netip.Prefix) {
	for _, text := range service.Spec.LoadBalancerSourceRanges {
		network, _ := netip.ParsePrefix(text) // the zero one has no address
		networks = append(networks, network)
	}
	return networks
}

func addressOf(endpoint discoveryv1.Endpoint) (netip.Addr, bool) {
	if len(endpoint.Addresses) == 0 {
		return netip.Addr{}, false
	}
	at, err := netip.ParseAddr(endpoint.Addresses[0])
	return at, err == nil
}

func isTCP(protocol *corev1.Protocol) bool {
	return protocol == nil || *protocol == "" || *protocol == corev1.ProtocolTCP
}
