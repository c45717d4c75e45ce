// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"sort"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha1"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha2"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha3"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha4"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
)

// internal is the version that everything between the codec and the storage
// speaks. Its Go types are those of v1alpha5.
var internal = schema.GroupVersion{Group: v1alpha5.GroupName, Version: runtime.APIVersionInternal}

// Versions returns the served versions, the preferred one first.
func Versions() []schema.GroupVersion {
	return []schema.GroupVersion{
		v1alpha5.GroupVersion,
		v1alpha4.GroupVersion,
		v1alpha3.GroupVersion,
		v1alpha2.GroupVersion,
		v1alpha1.GroupVersion,
	}
}

// Install registers the group. It panics when the scheme already holds
// something else under one of its names, which only a mistake in the program
// can bring about.
func Install(scheme *runtime.Scheme) {
	scheme.AddKnownTypes(internal, &v1alpha5.VirtualMachine{}, &v1alpha5.VirtualMachineList{})
	scheme.AddKnownTypes(v1alpha5.GroupVersion, &v1alpha5.VirtualMachine{}, &v1alpha5.VirtualMachineList{})
	scheme.AddKnownTypes(v1alpha4.GroupVersion, &v1alpha4.VirtualMachine{}, &v1alpha4.VirtualMachineList{})
	scheme.AddKnownTypes(v1alpha3.GroupVersion, &v1alpha3.VirtualMachine{}, &v1alpha3.VirtualMachineList{})
	scheme.AddKnownTypes(v1alpha2.GroupVersion, &v1alpha2.VirtualMachine{}, &v1alpha2.VirtualMachineList{})
	scheme.AddKnownTypes(v1alpha1.GroupVersion, &v1alpha1.VirtualMachine{}, &v1alpha1.VirtualMachineList{})

	for _, version := range Versions() {
		metav1.AddToGroupVersion(scheme, version)
		labels := fieldLabels(version)
		utilruntime.Must(scheme.AddFieldLabelConversionFunc(version.WithKind("VirtualMachine"), labels))
	}
	utilruntime.Must(scheme.SetVersionPriority(Versions()...))
	utilruntime.Must(addVirtualMachineConversions(scheme))

	// Every API server speaks these, whatever groups it has.
	unversioned := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(scheme, unversioned)
	scheme.AddUnversionedTypes(unversioned,
		&metav1.Status{},
		&metav1.APIVersions{},
		&metav1.APIGroupList{},
		&metav1.APIGroup{},
		&metav1.APIResourceList{},
	)
}

// fieldLabels returns the conversion of a version's field selectors to the
// names and values of the hub, by which objects are selected.
func fieldLabels(version schema.GroupVersion) runtime.FieldLabelConversionFunc {
	labels := map[string]string{
		"metadata.name":      "metadata.name",
		"metadata.namespace": "metadata.namespace",
		"status.powerState":  "status.powerState",
		"status.nodeName":    "status.nodeName",
	}
	switch version.Version {
	case "v1alpha1", "v1alpha2", "v1alpha3":
		// The field has this name there.
		labels["status.host"] = "status.nodeName"
	}
	supported := make([]string, 0, len(labels))
	for label := range labels {
		supported = append(supported, label)
	}
	sort.Strings(supported)

	return func(label, value string) (string, string, error) {
		name, found := labels[label]
		if !found {
			return "", "", fmt.Errorf("field selector %q is not supported for virtual machines: use one of %s",
				label, strings.Join(supported, ", "))
		}
		if name == "status.powerState" && version == v1alpha1.GroupVersion {
			value = hubPowerState(value)
		}
		return name, value, nil
	}
}

// hubPowerState is v1alpha1's name of a power state in the hub's spelling.
func hubPowerState(value string) string {
	switch v1alpha1.VirtualMachinePowerState(value) {
	case v1alpha1.VirtualMachinePoweredOff:
		return string(v1alpha5.VirtualMachinePowerStateOff)
	case v1alpha1.VirtualMachinePoweredOn:
		return string(v1alpha5.VirtualMachinePowerStateOn)
	case v1alpha1.VirtualMachineSuspended:
		return string(v1alpha5.VirtualMachinePowerStateSuspended)
	}
	return value
}
