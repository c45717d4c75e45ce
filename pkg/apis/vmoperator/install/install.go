// SPDX-License-Identifier: Apache-2.0

package install

import (
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
	scheme.AddKnownTypes(internal,
		&v1alpha5.VirtualMachine{}, &v1alpha5.VirtualMachineList{}, &v1alpha5.VirtualMachineClass{},
		&v1alpha5.VirtualMachineClassList{},
		&v1alpha5.VirtualMachineImage{}, &v1alpha5.VirtualMachineImageList{},
		&v1alpha5.ClusterVirtualMachineImage{}, &v1alpha5.ClusterVirtualMachineImageList{},
		&v1alpha5.VirtualMachineSetResourcePolicy{}, &v1alpha5.VirtualMachineSetResourcePolicyList{},
		&v1alpha5.VirtualMachineService{}, &v1alpha5.VirtualMachineServiceList{})
	scheme.AddKnownTypes(v1alpha5.GroupVersion,
		&v1alpha5.VirtualMachine{}, &v1alpha5.VirtualMachineList{}, &v1alpha5.VirtualMachineClass{},
		&v1alpha5.VirtualMachineClassList{},
		&v1alpha5.VirtualMachineImage{}, &v1alpha5.VirtualMachineImageList{},
		&v1alpha5.ClusterVirtualMachineImage{}, &v1alpha5.ClusterVirtualMachineImageList{},
		&v1alpha5.VirtualMachineSetResourcePolicy{}, &v1alpha5.VirtualMachineSetResourcePolicyList{},
		&v1alpha5.VirtualMachineService{}, &v1alpha5.VirtualMachineServiceList{})
	scheme.AddKnownTypes(v1alpha4.GroupVersion,
		&v1alpha4.VirtualMachine{}, &v1alpha4.VirtualMachineList{}, &v1alpha4.VirtualMachineClass{},
		&v1alpha4.VirtualMachineClassList{},
		&v1alpha4.VirtualMachineImage{}, &v1alpha4.VirtualMachineImageList{},
		&v1alpha4.ClusterVirtualMachineImage{}, &v1alpha4.ClusterVirtualMachineImageList{},
		&v1alpha4.VirtualMachineSetResourcePolicy{}, &v1alpha4.VirtualMachineSetResourcePolicyList{},
		&v1alpha4.VirtualMachineService{}, &v1alpha4.VirtualMachineServiceList{})
	scheme.AddKnownTypes(v1alpha3.GroupVersion,
		&v1alpha3.VirtualMachine{}, &v1alpha3.VirtualMachineList{}, &v1alpha3.VirtualMachineClass{},
		&v1alpha3.VirtualMachineClassList{},
		&v1alpha3.VirtualMachineImage{}, &v1alpha3.VirtualMachineImageList{},
		&v1alpha3.ClusterVirtualMachineImage{}, &v1alpha3.ClusterVirtualMachineImageList{},
		&v1alpha3.VirtualMachineSetResourcePolicy{}, &v1alpha3.VirtualMachineSetResourcePolicyList{},
		&v1alpha3.VirtualMachineService{}, &v1alpha3.VirtualMachineServiceList{})
	scheme.AddKnownTypes(v1alpha2.GroupVersion,
		&v1alpha2.VirtualMachine{}, &v1alpha2.VirtualMachineList{}, &v1alpha2.VirtualMachineClass{},
		&v1alpha2.VirtualMachineClassList{},
		&v1alpha2.VirtualMachineImage{}, &v1alpha2.VirtualMachineImageList{},
		&v1alpha2.ClusterVirtualMachineImage{}, &v1alpha2.ClusterVirtualMachineImageList{},
		&v1alpha2.VirtualMachineSetResourcePolicy{}, &v1alpha2.VirtualMachineSetResourcePolicyList{},
		&v1alpha2.VirtualMachineService{}, &v1alpha2.VirtualMachineServiceList{})
	scheme.AddKnownTypes(v1alpha1.GroupVersion,
		&v1alpha1.VirtualMachine{}, &v1alpha1.VirtualMachineList{}, &v1alpha1.VirtualMachineClass{},
		&v1alpha1.VirtualMachineClassList{},
		&v1alpha1.VirtualMachineImage{}, &v1alpha1.VirtualMachineImageList{},
		&v1alpha1.ClusterVirtualMachineImage{}, &v1alpha1.ClusterVirtualMachineImageList{},
		&v1alpha1.VirtualMachineSetResourcePolicy{}, &v1alpha1.VirtualMachineSetResourcePolicyList{},
		&v1alpha1.VirtualMachineService{}, &v1alpha1.VirtualMachineServiceList{})

	for _, version := range Versions() {
		metav1.AddToGroupVersion(scheme, version)
	}
	utilruntime.Must(scheme.SetVersionPriority(Versions()...))
	utilruntime.Must(addVirtualMachineConversions(scheme))
	utilruntime.Must(addVirtualMachineClassConversions(scheme))
	utilruntime.Must(addVirtualMachineImageConversions(scheme))
	utilruntime.Must(addClusterVirtualMachineImageConversions(scheme))
	utilruntime.Must(addSetResourcePolicyConversions(scheme))
	utilruntime.Must(addServiceConversions(scheme))
}
