// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmware-tanzu/vm-operator/api/utilconversion"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/registry"
)

// Origins knows where virtual machines come from.
type Origins interface {
	// Created tells whether Pacific made the virtual machine of that name, if it is
	// the one with this uid. It is false for one that was in vCenter before, and for
	// one that nobody knows.
	Created(namespace, name string, uid types.UID) bool
	// Told says why vCenter does not tell what that virtual machine is, so that
	// nothing can be decided about it; nil where it does.
	Told(namespace, name string, uid types.UID) error
}

// Namespaces knows Kubernetes' Namespaces.
type Namespaces interface {
	// Terminating says whether a Namespace is being deleted, or is not there. It is
	// the truth of this moment.
	Terminating(ctx context.Context, name string) (bool, error)
}

// Surroundings is what requests about virtual machines are answered by.
type Surroundings struct {
	Origins    Origins
	Grants     Grants
	Namespaces Namespaces
	// Authorizer is the server's own.
	Authorizer authorizer.UnconditionalAuthorizer
	Clock      clock.PassiveClock
}

// Kind describes the virtual machines.
func Kind(s Surroundings) *registry.Kind[v1alpha5.VirtualMachine, v1alpha5.VirtualMachineList] {
	type vm = v1alpha5.VirtualMachine
	rules := rules{s.Clock}
	return &registry.Kind[vm, v1alpha5.VirtualMachineList]{
		Resource: "virtualmachines", Singular: "virtualmachine", Title: "virtual machines", ShortNames: []string{"vm"},
		Versions: install.Versions(), Namespaced: true,
		// vm-operator's columns, then what else a wide table has room for.
		Columns: []registry.Column[vm]{
			registry.NameColumn[vm]("The name of the virtual machine."),
			{Name: "Power-State", Type: "string", Description: "The power state that vCenter reports.", Cell: powerState},
			{Name: "Class", Type: "string", Wide: true, Description: "The class of the virtual machine.", Cell: className},
			{Name: "Image", Type: "string", Wide: true, Description: "The image that the virtual machine was made from.", Cell: imageName},
			{Name: "Primary-IP4", Type: "string", Wide: true, Description: "The IPv4 address that the guest reports first.", Cell: primaryIP4},
			registry.AgeColumn[vm]("The time since the virtual machine was created in vCenter."),
			{Name: "Host", Type: "string", Wide: true, Description: "The ESXi host that the virtual machine lies on.", Cell: hostName},
			{Name: "Zone", Type: "string", Wide: true, Description: "The zone that the virtual machine lies in.", Cell: zoneName},
			{Name: "Guest-OS", Type: "string", Wide: true, Description: "The guest operating system.", Cell: guestOS},
		},
		Fields: []registry.Field[vm]{
			{Name: "status.powerState", Spelling: powerStateAtHub, Value: func(m *vm) string { return string(m.Status.PowerState) }},
			{
				Name: "status.nodeName", Also: map[string]string{"v1alpha1": "status.host", "v1alpha2": "status.host", "v1alpha3": "status.host"},
				Indexed: true, Value: func(m *vm) string { return m.Status.NodeName },
			},
		},
		Rules: &registry.Rules[vm]{
			PrepareCreate: prepareCreate, PrepareUpdate: rules.prepareUpdate,
			Validate: validateCreate, ValidateUpdate: rules.validateUpdate, Warnings: warnings,
		},
		Finalizer: vmoperator.MachineFinalizer,
		Stash:     utilconversion.AnnotationKey,
		Live:      true,
		Guards: registry.Refusals[vm]{
			Create: func(ctx context.Context, m *vm) error { return refuse(ctx, s.Grants, m, nil) },
			Update: func(ctx context.Context, m, before *vm) error {
				if err := s.Origins.Told(before.Namespace, before.Name, before.UID); err != nil {
					return err
				}
				return refuse(ctx, s.Grants, m, before)
			},
			Delete: func(ctx context.Context, m *vm) error { return refuseDeletion(ctx, s.Origins, s.Namespaces, m) },
		},
		Rights: registry.Refusals[vm]{
			Create: func(ctx context.Context, m *vm) error { return refuseSecrets(ctx, s.Authorizer, m, nil) },
			Update: func(ctx context.Context, m, before *vm) error { return refuseSecrets(ctx, s.Authorizer, m, before) },
		},
		Status: errors.New("the status of a virtual machine is what vCenter reports and cannot be written; " +
			"to change the machine, write its spec or its metadata"),
	}
}

func machines() schema.GroupResource {
	return schema.GroupResource{Group: v1alpha5.GroupName, Resource: "virtualmachines"}
}

// refuseDeletion refuses to destroy what Pacific did not make, unless the
// machine's reclaim policy says otherwise: that does not mean the end of its
// Namespace.
func refuseDeletion(ctx context.Context, origins Origins, namespaces Namespaces, m *v1alpha5.VirtualMachine) error {
	if err := origins.Told(m.Namespace, m.Name, m.UID); err != nil {
		return err
	}
	if origins.Created(m.Namespace, m.Name, m.UID) {
		return nil
	}
	if m.Annotations[vsphere.ReclaimPolicyAnnotation] == vsphere.ReclaimDelete {
		terminating, err := namespaces.Terminating(ctx, m.Namespace)
		if err != nil || !terminating {
			return err
		}
		return apierrors.NewForbidden(machines(), m.Name, fmt.Errorf(
			"it was not created through this API, so it stays in vCenter when its Namespace %q is deleted", m.Namespace))
	}
	return apierrors.NewForbidden(machines(), m.Name, fmt.Errorf(
		"it was not created through this API, and deleting it would destroy it in vCenter; to allow that, first run: "+
			"kubectl annotate virtualmachine %s --namespace %s %s=%s",
		m.Name, m.Namespace, vsphere.ReclaimPolicyAnnotation, vsphere.ReclaimDelete))
}
