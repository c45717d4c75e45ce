// SPDX-License-Identifier: Apache-2.0

package virtualmachineservice

import (
	"context"
	"errors"
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/registry"
)

// Kind describes the services.
func Kind() *registry.Kind[v1alpha5.VirtualMachineService, v1alpha5.VirtualMachineServiceList] {
	type service = v1alpha5.VirtualMachineService
	return &registry.Kind[service, v1alpha5.VirtualMachineServiceList]{
		Resource: "virtualmachineservices", Singular: "virtualmachineservice", Title: "virtual machine services",
		ShortNames: []string{"vmservice"}, Versions: install.Versions(), Namespaced: true,
		// vm-operator's columns, and the address.
		Columns: []registry.Column[service]{
			registry.NameColumn[service]("The name of the service, and of its core Service."),
			{Name: "Type", Type: "string", Description: "How it is reached.", Cell: func(s *service, _ time.Time) any {
				return string(s.Spec.Type)
			}},
			registry.AgeColumn[service]("The time since the service was made."),
			{Name: "External-IP", Type: "string", Wide: true, Description: "The address from outside.",
				Cell: func(s *service, _ time.Time) any {
					if ingress := s.Status.LoadBalancer.Ingress; len(ingress) > 0 {
						return ingress[0].IP + ingress[0].Hostname
					}
					return ""
				}},
		},
		Rules: &registry.Rules[service]{
			Validate:       func(_ context.Context, s *service) field.ErrorList { return validate(s) },
			ValidateUpdate: func(_ context.Context, s, before *service) field.ErrorList { return validateUpdate(s, before) },
		},
		Finalizer: vmoperator.ServiceFinalizer,
		Status:    errors.New("the status of a virtual machine service is what came about, and cannot be written"),
	}
}
