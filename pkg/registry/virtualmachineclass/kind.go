// SPDX-License-Identifier: Apache-2.0

package virtualmachineclass

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry"
)

// Kind describes the virtual machine classes. The authorizer is the server's own.
func Kind(authorizer authorizer.UnconditionalAuthorizer) *registry.Kind[v1alpha5.VirtualMachineClass,
	v1alpha5.VirtualMachineClassList] {
	type class = v1alpha5.VirtualMachineClass
	may := rights{authorizer}
	return &registry.Kind[class, v1alpha5.VirtualMachineClassList]{
		Resource: "virtualmachineclasses", Singular: "virtualmachineclass", Title: "virtual machine classes",
		ShortNames: []string{"vmclass"},
		Versions:   install.Versions(), Namespaced: true,
		// vm-operator's columns, and the age.
		Columns: []registry.Column[class]{
			registry.NameColumn[class]("The name of the class."),
			{Name: "CPU", Type: "string", Description: "How many CPUs a machine of the class has.",
				Cell: func(c *class, _ time.Time) any {
					return strconv.FormatInt(c.Spec.Hardware.Cpus, 10)
				}},
			{Name: "Memory", Type: "string", Description: "How much memory it has.", Cell: func(c *class, _ time.Time) any {
				return c.Spec.Hardware.Memory.String()
			}},
			{Name: "Reserved-CPU", Type: "string", Wide: true, Description: "How many of the CPUs are its own.",
				Cell: func(c *class, _ time.Time) any {
					return c.Spec.Policies.Resources.Requests.Cpu.String()
				}},
			{Name: "Reserved-Memory", Type: "string", Wide: true, Description: "How much of the memory is its own.",
				Cell: func(c *class, _ time.Time) any {
					return c.Spec.Policies.Resources.Requests.Memory.String()
				}},
			registry.AgeColumn[class]("The time since the class was made."),
		},
		Rules: &registry.Rules[class]{
			Validate:       func(_ context.Context, c *class) field.ErrorList { return validate(c) },
			ValidateUpdate: func(_ context.Context, c, before *class) field.ErrorList { return validateUpdate(c, before) },
		},
		Rights: registry.Refusals[class]{
			Create: func(ctx context.Context, c *class) error { return may.write(ctx, c) },
			Update: func(ctx context.Context, c, before *class) error {
				if equality.Semantic.DeepEqual(c.Spec, before.Spec) {
					return nil
				}
				return may.write(ctx, c)
			},
		},
		Status: errors.New("a virtual machine class has no status that could be written"),
	}
}

// rights asks who may say how large machines may be.
type rights struct {
	authorizer authorizer.UnconditionalAuthorizer
}

// write refuses a caller who may not update the vSphere Namespace in the whole cluster.
func (r rights) write(ctx context.Context, class *v1alpha5.VirtualMachineClass) error {
	namespace := request.NamespaceValue(ctx)
	who, found := request.UserFrom(ctx)
	if !found || who == nil || r.authorizer == nil {
		return apierrors.NewForbidden(classes(), class.Name, errors.New("nobody is logged in"))
	}
	decision, _, err := r.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: who, Verb: "update", APIGroup: vspherev1.GroupName, APIVersion: "*", Resource: "namespaces", Name: namespace,
		ResourceRequest: true,
	})
	switch {
	case decision == authorizer.DecisionAllow:
		return nil
	case err != nil:
		return fmt.Errorf("find out what %q may do: %w: %v", who.GetName(), failure.Unavailable, err)
	}
	return apierrors.NewForbidden(classes(), class.Name, fmt.Errorf(
		"user %q cannot say how large machines are in the vSphere Namespace %q: that takes the right to update vSphere "+
			"Namespaces in the whole cluster",
		who.GetName(), namespace))
}

func classes() schema.GroupResource {
	return schema.GroupResource{Group: v1alpha5.GroupName, Resource: "virtualmachineclasses"}
}
