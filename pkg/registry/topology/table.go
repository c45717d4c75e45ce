// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
)

// availabilityZoneColumns tell no age: vCenter keeps none for a cluster.
func availabilityZoneColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: "The name of the zone."},
		{Name: "Namespaces", Type: "integer", Description: "How many of your namespaces have a resource pool in it."},
		{Name: "Clusters", Type: "string", Priority: 1, Description: "The managed-object ids of its clusters."},
	}
}

func zoneColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: "The name of the zone."},
		{Name: "Age", Type: "string", Description: "The time since the namespace was created."},
		{Name: "Pools", Type: "string", Priority: 1, Description: "The managed-object ids of the namespace's resource pools in the zone."},
		{Name: "Folder", Type: "string", Priority: 1, Description: "The managed-object id of the namespace's VM folder."},
	}
}

func availabilityZoneTable(fallback rest.TableConvertor) registry.Table[v1alpha1.AvailabilityZone, v1alpha1.AvailabilityZoneList] {
	return registry.Table[v1alpha1.AvailabilityZone, v1alpha1.AvailabilityZoneList]{
		Columns: availabilityZoneColumns,
		Items: func(list *v1alpha1.AvailabilityZoneList) (metav1.ListMeta, []v1alpha1.AvailabilityZone) {
			return list.ListMeta, list.Items
		},
		Rows: registry.EachRow(func(object *v1alpha1.AvailabilityZone) metav1.TableRow {
			return metav1.TableRow{
				Cells:  []any{object.Name, int64(len(object.Spec.Namespaces)), strings.Join(object.Spec.ClusterComputeResourceMoIDs, ",")},
				Object: runtime.RawExtension{Object: object},
			}
		}),
		Fallback: fallback,
	}
}

func zoneTable(clock clock.PassiveClock, fallback rest.TableConvertor) registry.Table[v1alpha1.Zone, v1alpha1.ZoneList] {
	return registry.Table[v1alpha1.Zone, v1alpha1.ZoneList]{
		Columns: zoneColumns,
		Items:   func(list *v1alpha1.ZoneList) (metav1.ListMeta, []v1alpha1.Zone) { return list.ListMeta, list.Items },
		Rows: registry.EachRow(func(object *v1alpha1.Zone) metav1.TableRow {
			return metav1.TableRow{
				Cells: []any{
					object.Name, registry.Age(clock.Now(), object.CreationTimestamp),
					strings.Join(object.Spec.Namespace.PoolMoIDs, ","), object.Spec.Namespace.FolderMoID,
				},
				Object: runtime.RawExtension{Object: object},
			}
		}),
		Fallback: fallback,
	}
}
