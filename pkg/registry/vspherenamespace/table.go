// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

func columns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: "The name of the vSphere Namespace."},
		{Name: "Phase", Type: "string", Description: "Pending, Running or Terminating."},
		{Name: "Zones", Type: "string", Description: "The zones in which it has a resource pool."},
		{Name: "CPU", Type: "string", Description: "The CPU in use, and the limit."},
		{Name: "Memory", Type: "string", Description: "The memory in use, and the limit."},
		{Name: "VMs", Type: "string", Description: "The virtual machines that are on, and all of them."},
		{Name: "Age", Type: "string", Description: "The time since it was created."},
		{Name: "Storage", Type: "string", Priority: 1, Description: "The space taken, and the limit."},
		{Name: "Description", Type: "string", Priority: 1, Description: "What it is for."},
	}
}

type tableConvertor struct {
	clock    clock.PassiveClock
	fallback rest.TableConvertor
}

func (c tableConvertor) ConvertToTable(ctx context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	table := &metav1.Table{}
	switch object := object.(type) {
	case *v1alpha1.NamespaceList:
		table.ListMeta = object.ListMeta
		table.Rows = make([]metav1.TableRow, len(object.Items))
		for i := range object.Items {
			table.Rows[i] = c.row(&object.Items[i])
		}
	case *v1alpha1.Namespace:
		table.ResourceVersion = object.ResourceVersion
		table.Rows = []metav1.TableRow{c.row(object)}
	default:
		return c.fallback.ConvertToTable(ctx, object, tableOptions)
	}
	if options, ok := tableOptions.(*metav1.TableOptions); !ok || !options.NoHeaders {
		table.ColumnDefinitions = columns()
	}
	return table, nil
}

func (c tableConvertor) row(object *v1alpha1.Namespace) metav1.TableRow {
	usage, limits := object.Status.Usage, object.Spec.Resources
	cpuLimit := "-"
	if limits.CPULimitMHz != nil {
		cpuLimit = fmt.Sprintf("%dMHz", *limits.CPULimitMHz)
	}
	age := "<unknown>"
	if !object.CreationTimestamp.IsZero() {
		age = duration.HumanDuration(c.clock.Since(object.CreationTimestamp.Time))
	}
	return metav1.TableRow{
		Cells: []any{
			object.Name,
			string(object.Status.Phase),
			strings.Join(object.Spec.Zones, ","),
			fmt.Sprintf("%dMHz/%s", usage.CPUMHz, cpuLimit),
			amount(usage.Memory, "0") + "/" + amount(limits.MemoryLimit, "-"),
			fmt.Sprintf("%d/%d", usage.PoweredOn, usage.VirtualMachines),
			age,
			storageCell(object),
			object.Spec.Description,
		},
		Object: runtime.RawExtension{Object: object},
	}
}

func amount(q *resource.Quantity, none string) string {
	if q == nil {
		return none
	}
	return q.String()
}

func storageCell(object *v1alpha1.Namespace) string {
	used, limit := resource.NewQuantity(0, resource.BinarySI), resource.NewQuantity(0, resource.BinarySI)
	for _, part := range object.Status.Usage.Storage {
		used.Add(part.Used)
	}
	limited := len(object.Spec.StoragePolicies) > 0
	for _, policy := range object.Spec.StoragePolicies {
		if policy.Limit == nil {
			limited = false
			break
		}
		limit.Add(*policy.Limit)
	}
	if !limited {
		return used.String() + "/-"
	}
	return used.String() + "/" + limit.String()
}
