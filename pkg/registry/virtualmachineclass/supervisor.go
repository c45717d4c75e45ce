// SPDX-License-Identifier: Apache-2.0

package virtualmachineclass

import (
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	bestEffort = "best-effort-"
	guaranteed = "guaranteed-"
)

// size is how large a machine is.
type size struct {
	cpus, gibibytes int64
}

// sizes are those of the Supervisor's own classes.
func sizes() map[string]size {
	return map[string]size{
		"xsmall": {2, 2}, "small": {2, 4}, "medium": {2, 8}, "large": {4, 16},
		"xlarge": {4, 32}, "2xlarge": {8, 64}, "4xlarge": {16, 128}, "8xlarge": {32, 128},
	}
}

// Supervisor returns one of the Supervisor's own classes, as it is to be in a namespace; false when there is none of
// that name. A guaranteed class reserves all that it has.
func Supervisor(namespace, name string) (*v1alpha5.VirtualMachineClass, bool) {
	for suffix, size := range sizes() {
		if name != bestEffort+suffix && name != guaranteed+suffix {
			continue
		}
		class := &v1alpha5.VirtualMachineClass{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		cpus, memory := resource.NewQuantity(size.cpus, resource.DecimalSI),
			resource.NewQuantity(size.gibibytes<<30, resource.BinarySI)
		class.Spec.Hardware.Cpus, class.Spec.Hardware.Memory = size.cpus, *memory
		if name == guaranteed+suffix {
			class.Spec.Policies.Resources.Requests = v1alpha5.VirtualMachineResourceSpec{Cpu: *cpus, Memory: *memory}
		}
		return class, true
	}
	return nil, false
}
