// SPDX-License-Identifier: Apache-2.0

// Package install registers the API group topology.tanzu.vmware.com in a
// server's scheme. There is one version: its Go types serve as the internal
// version too.
package install

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
)

// Install registers the group. It panics when the scheme already holds
// something else under one of its names, which only a mistake in the program
// can bring about.
func Install(scheme *runtime.Scheme) {
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	internal := schema.GroupVersion{Group: v1alpha1.GroupName, Version: runtime.APIVersionInternal}
	scheme.AddKnownTypes(internal, &v1alpha1.AvailabilityZone{}, &v1alpha1.AvailabilityZoneList{}, &v1alpha1.Zone{},
		&v1alpha1.ZoneList{})
	utilruntime.Must(scheme.SetVersionPriority(v1alpha1.SchemeGroupVersion))
}
