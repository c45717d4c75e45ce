// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	govmomi "github.com/vmware/govmomi/vim25/types"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	vmcontroller "github.com/openpacific/pacific/pkg/controller/virtualmachine"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
	vmprojection "github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

// refresher has the inventory read an object anew.
type refresher struct{ Inventory }

func (r refresher) Refresh(ctx context.Context, id facts.ID) error {
	return r.Inventory.Refresh(ctx, govmomi.ManagedObjectReference{Type: id.Type, Value: id.Value})
}

// machines shows the projection's machines to their controller.
type machines struct{ *vmprojection.Projector }

func (m machines) Find(namespace, name string) (vmcontroller.Machine, bool) {
	state, found := m.Projector.Find(namespace, name)
	if !found || state.Object == nil {
		return vmcontroller.Machine{}, false
	}
	told := vmcontroller.Machine{Object: state.Object, Facts: state.Machine, WentBack: state.WentBack,
		Size: state.Live.Size, CPUHotAdd: state.Live.CPUHotAdd, MemoryHotAdd: state.Live.MemoryHotAdd}
	if meta := state.Metadata; meta != nil {
		told.Made, told.Wanted, told.Restart, told.Untold = meta.Created, meta.Size, meta.Restart, meta.Untold
		if state.Live.Hardware != nil {
			told.Drives, told.Links = meta.Drives, meta.Cards
			told.Retells = bootstrap.Retells(&meta.Spec)
		}
	}
	if hardware := state.Live.Hardware; hardware != nil {
		told.Controllers, told.Cards, told.Cdroms = hardware.Controllers, hardware.Cards, hardware.Cdroms
		told.Linked = hardware.Linked() && !state.Live.Snapshot
	}
	return told, true
}

// signed are the projection's machines, for whoever reads their signs.
type signed struct{ *vmprojection.Projector }

func (s signed) Find(namespace, name string, uid types.UID) (facts.ID, bool) {
	state, found := s.Projector.Find(namespace, name)
	return state.ID, found && state.InstanceUUID == string(uid)
}

// history knows who did something to the projection's machines.
type history struct {
	machines *vmprojection.Projector
	events   *machine.History
}

func (h history) Powered(ctx context.Context, namespace, name string, uid types.UID, state vmopv1.VirtualMachinePowerState) (string, error) {
	known, found := h.machines.Find(namespace, name)
	if !found || known.InstanceUUID != string(uid) {
		return "", nil
	}
	states := map[vmopv1.VirtualMachinePowerState]string{
		vmopv1.VirtualMachinePowerStateOn: facts.PoweredOn, vmopv1.VirtualMachinePowerStateOff: facts.PoweredOff,
		vmopv1.VirtualMachinePowerStateSuspended: facts.Suspended,
	}
	return h.events.Powered(ctx, known.ID, states[state])
}

func (h history) Configured(ctx context.Context, namespace, name string, uid types.UID) (string, error) {
	known, found := h.machines.Find(namespace, name)
	if !found || known.InstanceUUID != string(uid) {
		return "", nil
	}
	return h.events.Configured(ctx, known.ID)
}

// coreNamespaces are Kubernetes' Namespaces, as kube-apiserver has them at the moment
// of asking.
type coreNamespaces struct{ client coreclient.NamespacesGetter }

func (c coreNamespaces) Terminating(ctx context.Context, name string) (bool, error) {
	namespace, err := c.client.Namespaces().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("get Namespace %q: %w: %w", name, failure.Unavailable, err)
	}
	return namespace.DeletionTimestamp != nil, nil
}

// doomed are the machines that Pacific made, for the end of their Namespace.
type doomed struct {
	machines registry.Inside[vmopv1.VirtualMachine, vmopv1.VirtualMachineList]
	origins  virtualmachine.Origins
}

func (d doomed) DeleteAll(ctx context.Context, namespace string) (left int, err error) {
	machines, err := d.machines.List(ctx, namespace)
	if err != nil {
		return 0, err
	}
	var untold error
	for _, vm := range machines {
		if err := d.origins.Told(vm.Namespace, vm.Name, vm.UID); err != nil {
			// It may be one of them.
			untold = fmt.Errorf("virtual machine %q: %w", vm.Name, err)
			continue
		}
		if !d.origins.Created(vm.Namespace, vm.Name, vm.UID) {
			continue
		}
		left++
		if vm.DeletionTimestamp != nil {
			continue
		}
		if err := d.machines.Delete(ctx, namespace, vm.Name, vm.UID); err != nil {
			return left, err
		}
	}
	return left, untold
}
