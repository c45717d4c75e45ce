// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
)

// AvailabilityZones describes the zones of the Supervisor, which are shown to
// everybody, each with the namespaces that are theirs. Their columns tell no age:
// vCenter keeps none for a cluster.
func AvailabilityZones(access Access) *registry.Kind[v1alpha1.AvailabilityZone, v1alpha1.AvailabilityZoneList] {
	type zone = v1alpha1.AvailabilityZone
	return &registry.Kind[zone, v1alpha1.AvailabilityZoneList]{
		Resource: "availabilityzones", Singular: "availabilityzone", Title: "availability zones", ShortNames: []string{"az"},
		Versions: []schema.GroupVersion{v1alpha1.SchemeGroupVersion},
		Columns: []registry.Column[zone]{
			registry.NameColumn[zone]("The name of the zone."),
			{Name: "Namespaces", Type: "integer", Description: "How many of your namespaces have a resource pool in it.",
				Cell: func(z *zone, _ time.Time) any {
					return int64(len(z.Spec.Namespaces))
				}},
			{Name: "Clusters", Type: "string", Wide: true, Description: "The managed-object ids of its clusters.",
				Cell: func(z *zone, _ time.Time) any {
					return strings.Join(z.Spec.ClusterComputeResourceMoIDs, ",")
				}},
		},
		Sight: &registry.Sight[zone]{Each: cutter{access}.cut},
	}
}

// Zones describes the zones of namespaces: who may read there is shown all.
func Zones() *registry.Kind[v1alpha1.Zone, v1alpha1.ZoneList] {
	type zone = v1alpha1.Zone
	return &registry.Kind[zone, v1alpha1.ZoneList]{
		Resource: "zones", Singular: "zone", Title: "zones",
		Versions:   []schema.GroupVersion{v1alpha1.SchemeGroupVersion},
		Namespaced: true,
		Columns: []registry.Column[zone]{
			registry.NameColumn[zone]("The name of the zone."),
			registry.AgeColumn[zone]("The time since the namespace was created."),
			{Name: "Pools", Type: "string", Wide: true, Description: "The managed-object ids of the namespace's resource " +
				"pools in the zone.",
				Cell: func(z *zone, _ time.Time) any { return strings.Join(z.Spec.Namespace.PoolMoIDs, ",") }},
			{Name: "Folder", Type: "string", Wide: true, Description: "The managed-object id of the namespace's VM folder.",
				Cell: func(z *zone, _ time.Time) any { return z.Spec.Namespace.FolderMoID }},
		},
	}
}
