// SPDX-License-Identifier: Apache-2.0

package virtualmachinesetresourcepolicy

import (
	"context"
	"errors"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/registry"
)

// Kind describes the policies.
func Kind() *registry.Kind[v1alpha5.VirtualMachineSetResourcePolicy, v1alpha5.VirtualMachineSetResourcePolicyList] {
	type policy = v1alpha5.VirtualMachineSetResourcePolicy
	return &registry.Kind[policy, v1alpha5.VirtualMachineSetResourcePolicyList]{
		Resource: "virtualmachinesetresourcepolicies", Singular: "virtualmachinesetresourcepolicy",
		Title: "virtual machine set resource policies", Versions: install.Versions(), Namespaced: true,
		Columns: []registry.Column[policy]{
			registry.NameColumn[policy]("The name of the policy."),
			registry.AgeColumn[policy]("The time since the policy was made."),
		},
		Rules: &registry.Rules[policy]{
			Validate:       func(_ context.Context, p *policy) field.ErrorList { return validate(p) },
			ValidateUpdate: func(_ context.Context, p, before *policy) field.ErrorList { return validateUpdate(p, before) },
		},
		Finalizer: vmoperator.ResourcePolicyFinalizer,
		Status:    errors.New("the status of a resource policy is what there is in vCenter, and cannot be written"),
	}
}
