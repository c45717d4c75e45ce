// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
)

const (
	// ZoneLabel carries the zone in which the machine runs, where the user has set no other value.
	ZoneLabel = corev1.LabelTopologyZone
	// KeyPrefix begins every key of the mirror.
	KeyPrefix = "/virtualmachines/"
)

// view is all that an object is made of.
type view struct {
	ref             string
	props           properties
	uid             k8stypes.UID
	namespace, name string
	meta            *Metadata // nil for an unmanaged machine
	aside           []string  // what of the record does not count
	metaErr         error
	host, zone      string
	taken           string // the name that it wanted and another has
	paused          string // by whom
}

// object makes the API object, without its conditions. It shares what is immutable with the view.
func (v *view) object() *vmopv1.VirtualMachine {
	p := v.props
	vm := &vmopv1.VirtualMachine{}
	vm.Name, vm.Namespace, vm.UID = v.name, v.namespace, v.uid
	vm.CreationTimestamp = metav1.NewTime(p.created())
	vm.Generation = 1
	if m := v.meta; m != nil {
		vm.Generation = max(1, m.Generation)
		vm.Labels = m.Labels
		vm.Annotations = m.Annotations
		vm.OwnerReferences = m.OwnerReferences
		vm.ManagedFields = m.ManagedFields
		vm.DeletionTimestamp = m.deletionTimestamp()
		vm.DeletionGracePeriodSeconds = m.DeletionGracePeriodSeconds
		vm.Finalizers = slices.Clip(m.Finalizers)
		vm.Spec = m.Spec
	}
	vm.Finalizers = append(vm.Finalizers, vmoperator.MachineFinalizer)
	vm.Labels = v.labels(vm.Labels)

	power := p.powerState()
	fill(&vm.Spec.PowerState, power)
	fill(&vm.Spec.GuestID, p.text(pathGuestID))
	fill(&vm.Spec.BiosUUID, p.text(pathBiosUUID))
	fill(&vm.Spec.InstanceUUID, p.text(pathInstanceUUID))

	s := &vm.Status
	s.PowerState = power
	s.NodeName = v.host
	s.Zone = v.zone
	s.UniqueID = v.ref
	s.BiosUUID = p.text(pathBiosUUID)
	s.InstanceUUID = p.text(pathInstanceUUID)
	s.HardwareVersion = hardwareVersion(p.text(pathVersion))
	if enabled, known := p.bool(pathChangeTracking); known {
		s.ChangeBlockTracking = &enabled
	}
	if p.ref(pathCurrentSnapshot) != "" {
		s.CurrentSnapshot = &vmopv1.VirtualMachineSnapshotReference{Type: vmopv1.VirtualMachineSnapshotReferenceTypeUnmanaged}
	}
	guest := vmopv1.VirtualMachineGuestStatus{GuestID: p.text(pathGuestGuestID), GuestFullName: p.text(pathGuestGuestFullName)}
	// Without VMware Tools the guest that the machine is configured for is the best that is known.
	fill(&guest.GuestID, p.text(pathGuestID))
	fill(&guest.GuestFullName, p.text(pathGuestFullName))
	if guest != (vmopv1.VirtualMachineGuestStatus{}) {
		s.Guest = &guest
	}
	devices := p.devices()
	s.Hardware = hardware(p, devices)
	s.Volumes = devices.volumes
	s.Storage = storage(p, devices)
	s.Network = network(p, devices, power == vmopv1.VirtualMachinePowerStateOn)
	return vm
}

// labels adds to the user's labels what the server tells by labels. It makes a map of its own where it differs.
func (v *view) labels(users map[string]string) map[string]string {
	_, zoned := users[ZoneLabel]
	zoned = zoned || v.zone == ""
	paused, told := users[vmopv1.PausedVMLabelKey]
	if zoned && told == (v.paused != "") && paused == v.paused {
		return users
	}
	labels := make(map[string]string, len(users)+2)
	maps.Copy(labels, users)
	if !zoned {
		labels[ZoneLabel] = v.zone
	}
	delete(labels, vmopv1.PausedVMLabelKey)
	if v.paused != "" {
		labels[vmopv1.PausedVMLabelKey] = v.paused
	}
	return labels
}

func fill[T comparable](field *T, live T) {
	var zero T
	if *field == zero {
		*field = live
	}
}

func hardwareVersion(version string) int32 {
	number, found := strings.CutPrefix(version, "vmx-")
	if !found {
		return 0
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

func hardware(p properties, d *hardwareSurvey) *vmopv1.VirtualMachineHardwareStatus {
	h := &vmopv1.VirtualMachineHardwareStatus{Controllers: d.controllers}
	if cpus := p.int32(pathCPUs); cpus > 0 {
		h.CPU = &vmopv1.VirtualMachineCPUAllocationStatus{Total: cpus}
		h.CPU.Reservation, _ = p.int64(pathCPUReservation)
	}
	if memory := p.int32(pathMemoryMB); memory > 0 {
		h.Memory = &vmopv1.VirtualMachineMemoryAllocationStatus{Total: quantity(int64(memory) << 20)}
		if reserved, _ := p.int64(pathMemoryReservation); reserved > 0 {
			h.Memory.Reservation = quantity(reserved << 20)
		}
	}
	if h.CPU == nil && h.Memory == nil && len(h.Controllers) == 0 {
		return nil
	}
	return h
}

func quantity(n int64) *resource.Quantity { return resource.NewQuantity(n, resource.BinarySI) }

// storage tells what the disks may grow to, what they take now and what the machine's other files take. vCenter gives only sums over all
// files: committed is what they take, uncommitted what thin disks may still grow by. Both together are the disks' capacity and the other
// files. Snapshots break that sum, so the split is left out while there is one.
func storage(p properties, d *hardwareSurvey) *vmopv1.VirtualMachineStorageStatus {
	committed, known := p.int64(pathCommitted)
	if !known && len(d.volumes) == 0 {
		return nil
	}
	s := &vmopv1.VirtualMachineStorageStatus{}
	if len(d.volumes) > 0 {
		s.Requested = &vmopv1.VirtualMachineStorageStatusRequested{Disks: quantity(d.capacity)}
	}
	if !known || p.ref(pathCurrentSnapshot) != "" {
		return s
	}
	uncommitted, _ := p.int64(pathUncommitted)
	other := min(max(0, committed+uncommitted-d.capacity), committed)
	s.Used = &vmopv1.VirtualMachineStorageStatusUsed{Disks: quantity(committed - other), Other: quantity(other)}
	s.Total = quantity(d.capacity + other)
	return s
}
