// SPDX-License-Identifier: Apache-2.0

package virtualmachineservice

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	clusterIP    = v1alpha5.VirtualMachineServiceTypeClusterIP
	loadBalancer = v1alpha5.VirtualMachineServiceTypeLoadBalancer
	externalName = v1alpha5.VirtualMachineServiceTypeExternalName
)

func validate(service *v1alpha5.VirtualMachineService) field.ErrorList {
	// A core Service is called so.
	errs := validation.ValidateObjectMeta(&service.ObjectMeta, true, validation.NameIsDNS1035Label,
		field.NewPath("metadata"))
	return append(errs, validateSpec(&service.Spec, field.NewPath("spec"))...)
}

func validateUpdate(service, before *v1alpha5.VirtualMachineService) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&service.ObjectMeta, &before.ObjectMeta, field.NewPath("metadata"))
	path := field.NewPath("spec")
	if service.Spec.Type != before.Spec.Type {
		errs = append(errs, field.Forbidden(path.Child("type"), "field is immutable: make another service"))
	}
	if service.Spec.ClusterIP != before.Spec.ClusterIP {
		errs = append(errs, field.Forbidden(path.Child("clusterIp"), "field is immutable: make another service"))
	}
	return append(errs, validateSpec(&service.Spec, path)...)
}

func validateSpec(spec *v1alpha5.VirtualMachineServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	types := []v1alpha5.VirtualMachineServiceType{clusterIP, loadBalancer, externalName}
	switch {
	case spec.Type == "":
		errs = append(errs, field.Required(path.Child("type"), "ClusterIP, LoadBalancer or ExternalName"))
	case !slices.Contains(types, spec.Type):
		errs = append(errs, field.NotSupported(path.Child("type"), spec.Type, types))
	}
	errs = append(errs, validateClusterIP(spec, path)...)
	errs = append(errs, validateExternalName(spec, path)...)
	errs = append(errs, validateLoadBalancer(spec, path)...)
	errs = append(errs, metav1validation.ValidateLabels(spec.Selector, path.Child("selector"))...)
	ports := path.Child("ports")
	if len(spec.Ports) == 0 && spec.Type != externalName && spec.ClusterIP != corev1.ClusterIPNone {
		errs = append(errs, field.Required(ports, "name at least one"))
	}
	for i := range spec.Ports {
		errs = append(errs, validatePort(spec.Ports, i, ports.Index(i))...)
	}
	return errs
}

func validateClusterIP(spec *v1alpha5.VirtualMachineServiceSpec, path *field.Path) field.ErrorList {
	path = path.Child("clusterIp")
	switch {
	case spec.ClusterIP == "":
		return nil
	case spec.Type == externalName:
		return field.ErrorList{field.Forbidden(path, "a service of type ExternalName has no address")}
	case spec.ClusterIP != corev1.ClusterIPNone:
		return utilvalidation.IsValidIP(path, spec.ClusterIP)
	case spec.Type == loadBalancer:
		return field.ErrorList{field.Invalid(path, spec.ClusterIP, "a service of type LoadBalancer has an address")}
	}
	return nil
}

func validateExternalName(spec *v1alpha5.VirtualMachineServiceSpec, path *field.Path) field.ErrorList {
	path = path.Child("externalName")
	name := strings.TrimSuffix(spec.ExternalName, ".")
	switch {
	case spec.Type != externalName && spec.ExternalName != "":
		return field.ErrorList{field.Forbidden(path, "it is for services of type ExternalName only")}
	case spec.Type != externalName:
		return nil
	case name == "":
		return field.ErrorList{field.Required(path, "name the host that the service stands for")}
	}
	var errs field.ErrorList
	for _, message := range utilvalidation.IsDNS1123Subdomain(name) {
		errs = append(errs, field.Invalid(path, spec.ExternalName, message))
	}
	return errs
}

func validateLoadBalancer(spec *v1alpha5.VirtualMachineServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	const only = "it is for services of type LoadBalancer only"
	if address := spec.LoadBalancerIP; address != "" {
		if spec.Type != loadBalancer {
			errs = append(errs, field.Forbidden(path.Child("loadBalancerIP"), only))
		} else {
			errs = append(errs, utilvalidation.IsValidIP(path.Child("loadBalancerIP"), address)...)
		}
	}
	ranges := path.Child("loadBalancerSourceRanges")
	if len(spec.LoadBalancerSourceRanges) > 0 && spec.Type != loadBalancer {
		errs = append(errs, field.Forbidden(ranges, only))
	}
	for i, source := range spec.LoadBalancerSourceRanges {
		if _, err := netip.ParsePrefix(strings.TrimSpace(source)); err != nil {
			errs = append(errs, field.Invalid(ranges.Index(i), source, "it must be a network such as 192.0.2.0/24"))
		}
	}
	return errs
}

func validatePort(all []v1alpha5.VirtualMachineServicePort, i int, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	port := all[i]
	if port.Name == "" && len(all) > 1 {
		errs = append(errs, field.Required(path.Child("name"), "name each of several ports"))
	}
	if port.Name != "" {
		for _, message := range utilvalidation.IsDNS1123Label(port.Name) {
			errs = append(errs, field.Invalid(path.Child("name"), port.Name, message))
		}
	}
	protocols := []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
	switch {
	case port.Protocol == "":
		errs = append(errs, field.Required(path.Child("protocol"), "TCP, UDP or SCTP"))
	case !slices.Contains(protocols, corev1.Protocol(port.Protocol)):
		errs = append(errs, field.NotSupported(path.Child("protocol"), corev1.Protocol(port.Protocol), protocols))
	}
	for _, message := range utilvalidation.IsValidPortNum(int(port.Port)) {
		errs = append(errs, field.Invalid(path.Child("port"), port.Port, message))
	}
	for _, message := range utilvalidation.IsValidPortNum(int(port.TargetPort)) {
		errs = append(errs, field.Invalid(path.Child("targetPort"), port.TargetPort, message))
	}
	for _, other := range all[:i] {
		if port.Name != "" && other.Name == port.Name {
			errs = append(errs, field.Duplicate(path.Child("name"), port.Name))
		}
		if other.Protocol == port.Protocol && other.Port == port.Port {
			errs = append(errs, field.Duplicate(path.Child("port"), port.Port))
		}
	}
	return errs
}
