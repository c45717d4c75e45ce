// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry"
	vmregistry "github.com/openpacific/pacific/pkg/registry/virtualmachine"
	vmvcenter "github.com/openpacific/pacific/pkg/vcenter/virtualmachine"
)

func isConflict(err error) bool { return errors.Is(err, failure.Conflict) }

// power asks vCenter to change the power state of the machine with a uid.
type power struct {
	vmvcenter.Power
	projector *vmvcenter.Projector
}

func (p power) SetPower(ctx context.Context, uid types.UID, target vmopv1.VirtualMachinePowerState, mode vmopv1.VirtualMachinePowerOpMode, asked time.Time) (time.Duration, error) {
	state, found := p.projector.FindUID(uid)
	if !found {
		return 0, nil
	}
	return p.Set(ctx, state.Ref, target, mode, asked)
}

func (p power) Paused(uid types.UID) bool {
	state, found := p.projector.FindUID(uid)
	return found && state.Paused
}

// releaser removes finalizers through the API's own storage, so that the last
// one's removal deletes the machine.
type releaser struct{ machines *vmregistry.REST }

func (r releaser) RemoveFinalizer(ctx context.Context, namespace, name string, uid types.UID, finalizer string) error {
	return registry.RemoveFinalizer(ctx, r.machines, namespace, name, uid, finalizer)
}

// doomed are the machines that Pacific made, for the end of their Namespace.
type doomed struct {
	machines *vmregistry.REST
	origins  vmregistry.Origins
}

func (d doomed) DeleteAll(ctx context.Context, namespace string) (left int, err error) {
	ctx = request.WithNamespace(ctx, namespace)
	list, err := d.machines.List(ctx, &metainternalversion.ListOptions{})
	if err != nil {
		return 0, err
	}
	for _, vm := range list.(*vmopv1.VirtualMachineList).Items {
		if !d.origins.Created(vm.UID) {
			continue
		}
		left++
		if vm.DeletionTimestamp != nil {
			continue
		}
		_, _, err := d.machines.Delete(ctx, vm.Name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &vm.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return left, err
		}
	}
	return left, nil
}
