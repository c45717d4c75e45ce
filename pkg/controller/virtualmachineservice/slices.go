// SPDX-License-Identifier: Apache-2.0

package virtualmachineservice

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
)

// endpointsEach is how many endpoints one slice holds: as many as the API takes.
const endpointsEach = 1000

// wantedSlices are the EndpointSlices that a service is to have. Without a selector somebody else says where it leads.
func wantedSlices(service *vmopv1.VirtualMachineService, core *corev1.Service,
	machines []*vmopv1.VirtualMachine) []*discoveryv1.EndpointSlice {
	if len(service.Spec.Selector) == 0 || core.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	families := core.Spec.IPFamilies
	if len(families) == 0 {
		families = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	var all []*discoveryv1.EndpointSlice
	for _, family := range families {
		endpoints := endpointsOf(machines, family)
		for number := 0; number == 0 || len(endpoints) > 0; number++ {
			part := endpoints[:min(len(endpoints), endpointsEach)]
			endpoints = endpoints[len(part):]
			slice := &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: service.Namespace,
					Name:      service.Name + "-" + strings.ToLower(string(family)) + "-" + strconv.Itoa(number),
				},
				AddressType: discoveryv1.AddressType(family), Endpoints: part, Ports: portsOf(core),
			}
			dress(&slice.ObjectMeta, service)
			slice.Annotations = nil
			metav1.SetMetaDataLabel(&slice.ObjectMeta, discoveryv1.LabelServiceName, service.Name)
			metav1.SetMetaDataLabel(&slice.ObjectMeta, discoveryv1.LabelManagedBy, vsphere.ManagedBy)
			if core.Spec.ClusterIP == corev1.ClusterIPNone {
				metav1.SetMetaDataLabel(&slice.ObjectMeta, corev1.IsHeadlessService, "")
			}
			all = append(all, slice)
		}
	}
	return all
}

func portsOf(core *corev1.Service) []discoveryv1.EndpointPort {
	var ports []discoveryv1.EndpointPort
	for _, port := range core.Spec.Ports {
		ports = append(ports, discoveryv1.EndpointPort{
			Name: ptr.To(port.Name), Protocol: ptr.To(port.Protocol), Port: ptr.To(port.TargetPort.IntVal),
		})
	}
	return ports
}

// endpointsOf are the machines that have an address of a family, in the order of their names.
func endpointsOf(machines []*vmopv1.VirtualMachine, family corev1.IPFamily) []discoveryv1.Endpoint {
	machines = slices.Clone(machines)
	slices.SortFunc(machines, func(a, b *vmopv1.VirtualMachine) int { return cmp.Compare(a.Name, b.Name) })
	var endpoints []discoveryv1.Endpoint
	for _, vm := range machines {
		address := addressOf(vm, family)
		if address == "" || vm.DeletionTimestamp != nil {
			continue
		}
		is := ready(vm)
		endpoint := discoveryv1.Endpoint{
			Addresses: []string{address},
			Conditions: discoveryv1.EndpointConditions{
				Ready: ptr.To(is), Serving: ptr.To(is), Terminating: ptr.To(false),
			},
			TargetRef: &corev1.ObjectReference{APIVersion: vmopv1.GroupVersion.String(), Kind: "VirtualMachine",
				Namespace: vm.Namespace, Name: vm.Name, UID: vm.UID},
		}
		if vm.Status.Zone != "" {
			endpoint.Zone = ptr.To(vm.Status.Zone)
		}
		endpoints = append(endpoints, endpoint)
	}
	return endpoints
}

// addressOf is the primary address of a machine, empty where it has none that an EndpointSlice takes.
func addressOf(vm *vmopv1.VirtualMachine, family corev1.IPFamily) string {
	if vm.Status.Network == nil {
		return ""
	}
	text := vm.Status.Network.PrimaryIP4
	if family == corev1.IPv6Protocol {
		text = vm.Status.Network.PrimaryIP6
	}
	address, err := netip.ParseAddr(text)
	switch {
	case err != nil, address.Is4() != (family == corev1.IPv4Protocol), address.IsUnspecified(), address.IsLoopback(),
		address.IsLinkLocalUnicast(), address.IsMulticast():
		return ""
	}
	return address.String()
}

// ready says whether a machine is: by its own word, and where it has none, when nothing is asked of it but that it
// runs.
func ready(vm *vmopv1.VirtualMachine) bool {
	if said := meta.FindStatusCondition(vm.Status.Conditions, vmopv1.ReadyConditionType); said != nil {
		return said.Status == metav1.ConditionTrue
	}
	return !probed(vm) && vm.Status.PowerState == vmopv1.VirtualMachinePowerStateOn
}

func probed(vm *vmopv1.VirtualMachine) bool {
	probe := vm.Spec.ReadinessProbe
	return probe != nil && (probe.TCPSocket != nil || probe.GuestHeartbeat != nil || len(probe.GuestInfo) > 0)
}

// spread makes the slices of a service what they are to be.
func (c *Controller) spread(ctx context.Context, service *vmopv1.VirtualMachineService,
	wanted []*discoveryv1.EndpointSlice) error {
	client := c.Client.DiscoveryV1().EndpointSlices(service.Namespace)
	found, err := client.List(ctx, metav1.ListOptions{LabelSelector: labels.Set{
		discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: vsphere.ManagedBy}.String()})
	if err != nil {
		return fmt.Errorf("list the EndpointSlices of service %q: %w", service.Name, err)
	}
	have := map[string]*discoveryv1.EndpointSlice{}
	for i := range found.Items {
		if slice := &found.Items[i]; owns(service, slice) {
			have[slice.Name] = slice
		}
	}
	for _, want := range wanted {
		was := have[want.Name]
		delete(have, want.Name)
		if err := c.put(ctx, was, want); err != nil {
			return err
		}
	}
	for name, left := range have {
		err := client.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &left.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete the EndpointSlice %q: %w", name, err)
		}
	}
	return nil
}

// put makes a slice, or changes it where it is different.
func (c *Controller) put(ctx context.Context, was, want *discoveryv1.EndpointSlice) error {
	client := c.Client.DiscoveryV1().EndpointSlices(want.Namespace)
	if was == nil {
		if _, err := client.Create(ctx, want, metav1.CreateOptions{FieldManager: vsphere.FieldManager}); err != nil {
			return fmt.Errorf("make the EndpointSlice %q: %w", want.Name, err)
		}
		return nil
	}
	now := was.DeepCopy()
	for key, value := range want.Labels {
		metav1.SetMetaDataLabel(&now.ObjectMeta, key, value)
	}
	now.OwnerReferences, now.Endpoints, now.Ports = want.OwnerReferences, want.Endpoints, want.Ports
	if equality.Semantic.DeepEqual(was, now) {
		return nil
	}
	if _, err := client.Update(ctx, now, metav1.UpdateOptions{FieldManager: vsphere.FieldManager}); err != nil {
		return fmt.Errorf("update the EndpointSlice %q: %w", want.Name, err)
	}
	return nil
}
