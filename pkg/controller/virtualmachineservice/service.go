// SPDX-License-Identifier: Apache-2.0

package virtualmachineservice

import (
	"context"
	"fmt"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/failure"
)

// LoadBalancerClass is that of core Services whose address is out of the pool: no other load balancer takes them for its
// own.
const LoadBalancerClass = "vsphere.openpacific.io/addresses"

// ensure makes the core Service of a service what it is to be, and returns it.
func (c *Controller) ensure(ctx context.Context, service *vmopv1.VirtualMachineService) (*corev1.Service, error) {
	client := c.Client.CoreV1().Services(service.Namespace)
	have, err := client.Get(ctx, service.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		want := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: service.Namespace, Name: service.Name}}
		c.shape(want, service)
		made, err := client.Create(ctx, want, metav1.CreateOptions{FieldManager: vsphere.FieldManager})
		if err != nil {
			return nil, fmt.Errorf("make the core Service %q: %w", service.Name, err)
		}
		c.announce(service, corev1.EventTypeNormal, ReasonMade,
			fmt.Sprintf("The core Service %q was made for it", made.Name))
		return made, nil
	case err != nil:
		return nil, fmt.Errorf("get the core Service %q: %w", service.Name, err)
	case !owns(service, have):
		return nil, fmt.Errorf("there is a core Service %q already, which was not made for it: delete that, or give this one "+
			"another name: %w", service.Name, failure.AlreadyExists)
	}
	want := have.DeepCopy()
	c.shape(want, service)
	if equality.Semantic.DeepEqual(have, want) {
		return have, nil
	}
	now, err := client.Update(ctx, want, metav1.UpdateOptions{FieldManager: vsphere.FieldManager})
	if err != nil {
		return nil, fmt.Errorf("update the core Service %q: %w", service.Name, err)
	}
	return now, nil
}

// shape makes a core Service what it is to be. What others have put there stays as far as it does not contradict.
func (c *Controller) shape(core *corev1.Service, service *vmopv1.VirtualMachineService) {
	dress(&core.ObjectMeta, service)
	spec := &core.Spec
	spec.Type = corev1.ServiceType(service.Spec.Type)
	spec.Selector = nil
	spec.ExternalName = service.Spec.ExternalName
	spec.LoadBalancerIP = service.Spec.LoadBalancerIP
	spec.LoadBalancerSourceRanges = service.Spec.LoadBalancerSourceRanges
	fresh := core.ResourceVersion == ""
	if fresh {
		spec.ClusterIP = service.Spec.ClusterIP
	}
	nodePorts := map[string]int32{}
	for _, port := range spec.Ports {
		nodePorts[port.Name] = port.NodePort
	}
	ports := make([]corev1.ServicePort, 0, len(service.Spec.Ports))
	for _, port := range service.Spec.Ports {
		ports = append(ports, corev1.ServicePort{
			Name: port.Name, Protocol: corev1.Protocol(port.Protocol), Port: port.Port,
			TargetPort: intstr.FromInt32(port.TargetPort), NodePort: nodePorts[port.Name],
		})
	}
	spec.Ports = ports
	if spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	spec.AllocateLoadBalancerNodePorts = ptr.To(false)
	spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	if service.Annotations[vmoperator.TrafficPolicyAnnotation] == string(corev1.ServiceExternalTrafficPolicyLocal) {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	if fresh && !c.Pool.Empty() {
		spec.LoadBalancerClass = ptr.To(LoadBalancerClass)
	}
}

// dress gives an object the labels and annotations of a service, an owner reference to it and the mark that it is
// Pacific's.
func dress(object *metav1.ObjectMeta, service *vmopv1.VirtualMachineService) {
	for key, value := range service.Labels {
		metav1.SetMetaDataLabel(object, key, value)
	}
	metav1.SetMetaDataLabel(object, vsphere.ManagedLabel, vsphere.ManagedBy) // it is told of by that
	for key, value := range service.Annotations {
		if key != corev1.LastAppliedConfigAnnotation {
			metav1.SetMetaDataAnnotation(object, key, value)
		}
	}
	object.OwnerReferences = slices.DeleteFunc(object.OwnerReferences, func(owner metav1.OwnerReference) bool {
		return owner.UID == service.UID
	})
	object.OwnerReferences = append(object.OwnerReferences, metav1.OwnerReference{
		APIVersion: vmopv1.GroupVersion.String(), Kind: kind, Name: service.Name, UID: service.UID,
		Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
	})
}

const kind = "VirtualMachineService"

// owns says whether an object was made for a service.
func owns(service *vmopv1.VirtualMachineService, object metav1.Object) bool {
	owner := metav1.GetControllerOf(object)
	return owner != nil && owner.UID == service.UID
}

// publish says on the core Service which address it was given.
func (c *Controller) publish(ctx context.Context, core *corev1.Service, address string) error {
	want := []corev1.LoadBalancerIngress{{IP: address, IPMode: ptr.To(corev1.LoadBalancerIPModeVIP)}}
	if have := core.Status.LoadBalancer.Ingress; len(have) == 1 && have[0].IP == address {
		return nil
	}
	core = core.DeepCopy()
	core.Status.LoadBalancer.Ingress = want
	_, err := c.Client.CoreV1().Services(core.Namespace).UpdateStatus(ctx, core,
		metav1.UpdateOptions{FieldManager: vsphere.FieldManager})
	if err != nil {
		return fmt.Errorf("say the address of the core Service %q: %w", core.Name, err)
	}
	return nil
}

// passedOn is what the cluster's own load balancer says of a core Service.
func passedOn(core *corev1.Service) []vmopv1.LoadBalancerIngress {
	var ingress []vmopv1.LoadBalancerIngress
	for _, one := range core.Status.LoadBalancer.Ingress {
		ingress = append(ingress, vmopv1.LoadBalancerIngress{IP: one.IP, Hostname: one.Hostname})
	}
	return ingress
}
