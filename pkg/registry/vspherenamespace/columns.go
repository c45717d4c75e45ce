// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

func phase(object *v1alpha1.Namespace, _ time.Time) any { return string(object.Status.Phase) }
func zones(object *v1alpha1.Namespace, _ time.Time) any { return strings.Join(object.Spec.Zones, ",") }

func cpu(object *v1alpha1.Namespace, _ time.Time) any {
	limit := "-"
	if mhz := object.Spec.Resources.CPULimitMHz; mhz != nil {
		limit = fmt.Sprintf("%dMHz", *mhz)
	}
	return fmt.Sprintf("%dMHz/%s", object.Status.Usage.CPUMHz, limit)
}

func memory(object *v1alpha1.Namespace, _ time.Time) any {
	return amount(object.Status.Usage.Memory, "0") + "/" + amount(object.Spec.Resources.MemoryLimit, "-")
}

func machines(object *v1alpha1.Namespace, _ time.Time) any {
	return fmt.Sprintf("%d/%d", object.Status.Usage.PoweredOn, object.Status.Usage.VirtualMachines)
}

func description(object *v1alpha1.Namespace, _ time.Time) any { return object.Spec.Description }

func amount(q *resource.Quantity, none string) string {
	if q == nil {
		return none
	}
	return q.String()
}

func storage(object *v1alpha1.Namespace, _ time.Time) any {
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
