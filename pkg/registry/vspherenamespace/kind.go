// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
)

// Asked are those whom this package asks.
type Asked struct {
	// Authorizer is the server's own, and Reviewer asks it about lists.
	Authorizer authorizer.UnconditionalAuthorizer
	Reviewer   Reviewer
	// Taken says whether a Kubernetes Namespace of a name is there that has nothing
	// to do with vCenter: what lies in it would go with the vSphere Namespace.
	Taken func(name string) bool
	Clock clock.PassiveClock
}

// Kind describes the vSphere Namespaces.
func Kind(asked Asked) *registry.Kind[v1alpha1.Namespace, v1alpha1.NamespaceList] {
	type vns = v1alpha1.Namespace
	rights := newRights(asked.Authorizer, asked.Reviewer, asked.Clock)
	return &registry.Kind[vns, v1alpha1.NamespaceList]{
		Resource: "namespaces", Singular: "namespace", Title: "vSphere Namespaces", ShortNames: []string{"vns"},
		Versions: []schema.GroupVersion{v1alpha1.SchemeGroupVersion},
		Columns: []registry.Column[vns]{
			registry.NameColumn[vns]("The name of the vSphere Namespace."),
			{Name: "Phase", Type: "string", Description: "Pending, Running or Terminating.", Cell: phase},
			{Name: "Zones", Type: "string", Description: "The zones in which it has a resource pool.", Cell: zones},
			{Name: "CPU", Type: "string", Description: "The CPU in use, and the limit.", Cell: cpu},
			{Name: "Memory", Type: "string", Description: "The memory in use, and the limit.", Cell: memory},
			{Name: "VMs", Type: "string", Description: "The virtual machines that are on, and all of them.", Cell: machines},
			registry.AgeColumn[vns]("The time since it was created."),
			{Name: "Storage", Type: "string", Wide: true, Description: "The space taken, and the limit.", Cell: storage},
			{Name: "Description", Type: "string", Wide: true, Description: "What it is for.", Cell: description},
		},
		Sight:     &registry.Sight[vns]{Each: rights.showEach, One: rights.showOne, Hides: true},
		Rules:     &registry.Rules[vns]{PrepareUpdate: prepareUpdate, Validate: validate, ValidateUpdate: validateUpdate},
		Finalizer: v1alpha1.NamespaceFinalizer,
		Live:      true,
		Guards: registry.Refusals[vns]{Create: func(_ context.Context, object *vns) error {
			if !asked.Taken(object.Name) {
				return nil
			}
			return apierrors.NewForbidden(qualified(), object.Name, errors.New(
				"a Kubernetes Namespace of this name is there and belongs to no folder of vCenter: choose another name, or delete that Namespace first"))
		}},
		Rights: registry.Refusals[vns]{Create: rights.mayCreate, Update: rights.mayUpdate, Delete: rights.mayDelete},
	}
}

func qualified() schema.GroupResource { return v1alpha1.Resource("namespaces") }

// prepareUpdate fills in what a manifest need not repeat: what the server filled in.
func prepareUpdate(_ context.Context, object, before *v1alpha1.Namespace) {
	if len(object.Spec.Zones) == 0 {
		object.Spec.Zones = before.Spec.Zones
	}
	if object.Spec.Folder == "" {
		object.Spec.Folder = before.Spec.Folder
	}
	if len(object.Spec.ResourcePools) == 0 {
		object.Spec.ResourcePools = before.Spec.ResourcePools
	}
}

// mayCreate refuses a caller who takes or gives what is not theirs.
func (r *rights) mayCreate(ctx context.Context, object *v1alpha1.Namespace) error {
	if object.Spec.Folder != "" || len(object.Spec.ResourcePools) > 0 {
		if err := r.mayTakeOver(ctx, object.Name); err != nil {
			return err
		}
	}
	return r.mayGrant(ctx, object.Name, nil, object.Spec.Access)
}

// mayUpdate refuses a caller who changes what is not theirs to change.
func (r *rights) mayUpdate(ctx context.Context, object, before *v1alpha1.Namespace) error {
	if err := r.mayChange(ctx, "update", before.Name); err != nil {
		return err
	}
	if !sameButForOwners(object, before) {
		if err := r.mayAdminister(ctx, before.Name); err != nil {
			return err
		}
	}
	return r.mayGrant(ctx, before.Name, before.Spec.Access, object.Spec.Access)
}

func (r *rights) mayDelete(ctx context.Context, object *v1alpha1.Namespace) error {
	return r.mayChange(ctx, "delete", object.Name)
}

// sameButForOwners says whether two differ in no more than what an owner may
// change.
func sameButForOwners(a, b *v1alpha1.Namespace) bool {
	x, y := a.Spec, b.Spec
	x.Access, y.Access, x.Description, y.Description = nil, nil, "", ""
	return equality.Semantic.DeepEqual(x, y)
}
