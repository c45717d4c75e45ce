// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
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

func table(clock clock.PassiveClock, fallback rest.TableConvertor) registry.Table[v1alpha1.Namespace, v1alpha1.NamespaceList] {
	return registry.Table[v1alpha1.Namespace, v1alpha1.NamespaceList]{
		Columns: columns,
		Items: func(list *v1alpha1.NamespaceList) (metav1.ListMeta, []v1alpha1.Namespace) {
			return list.ListMeta, list.Items
		},
		Rows: registry.EachRow(func(object *v1alpha1.Namespace) metav1.TableRow {
			return row(object, registry.Age(clock.Now(), object.CreationTimestamp))
		}),
		Fallback: fallback,
	}
}

func row(object *v1alpha1.Namespace, age string) metav1.TableRow {
	usage, limits := object.Status.Usage, object.Spec.Resources
	cpuLimit := "-"
	if limits.CPULimitMHz != nil {
		cpuLimit = fmt.Sprintf("%dMHz", *limits.CPULimitMHz)
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
