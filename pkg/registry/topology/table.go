// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
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

type availabilityZoneTable struct{ fallback rest.TableConvertor }

func (c availabilityZoneTable) ConvertToTable(ctx context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	table := &metav1.Table{}
	switch object := object.(type) {
	case *v1alpha1.AvailabilityZoneList:
		table.ListMeta = object.ListMeta
		table.Rows = make([]metav1.TableRow, len(object.Items))
		for i := range object.Items {
			table.Rows[i] = c.row(&object.Items[i])
		}
	case *v1alpha1.AvailabilityZone:
		table.ResourceVersion = object.ResourceVersion
		table.Rows = []metav1.TableRow{c.row(object)}
	default:
		return c.fallback.ConvertToTable(ctx, object, tableOptions)
	}
	return withColumns(table, tableOptions, availabilityZoneColumns), nil
}

func (availabilityZoneTable) row(object *v1alpha1.AvailabilityZone) metav1.TableRow {
	return metav1.TableRow{
		Cells:  []any{object.Name, int64(len(object.Spec.Namespaces)), strings.Join(object.Spec.ClusterComputeResourceMoIDs, ",")},
		Object: runtime.RawExtension{Object: object},
	}
}

type zoneTable struct {
	clock    clock.PassiveClock
	fallback rest.TableConvertor
}

func (c zoneTable) ConvertToTable(ctx context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	table := &metav1.Table{}
	switch object := object.(type) {
	case *v1alpha1.ZoneList:
		table.ListMeta = object.ListMeta
		table.Rows = make([]metav1.TableRow, len(object.Items))
		for i := range object.Items {
			table.Rows[i] = c.row(&object.Items[i])
		}
	case *v1alpha1.Zone:
		table.ResourceVersion = object.ResourceVersion
		table.Rows = []metav1.TableRow{c.row(object)}
	default:
		return c.fallback.ConvertToTable(ctx, object, tableOptions)
	}
	return withColumns(table, tableOptions, zoneColumns), nil
}

func (c zoneTable) row(object *v1alpha1.Zone) metav1.TableRow {
	age := "<unknown>"
	if !object.CreationTimestamp.IsZero() {
		age = duration.HumanDuration(c.clock.Since(object.CreationTimestamp.Time))
	}
	return metav1.TableRow{
		Cells:  []any{object.Name, age, strings.Join(object.Spec.Namespace.PoolMoIDs, ","), object.Spec.Namespace.FolderMoID},
		Object: runtime.RawExtension{Object: object},
	}
}

func withColumns(table *metav1.Table, tableOptions runtime.Object, columns func() []metav1.TableColumnDefinition) *metav1.Table {
	if options, ok := tableOptions.(*metav1.TableOptions); !ok || !options.NoHeaders {
		table.ColumnDefinitions = columns()
	}
	return table
}
