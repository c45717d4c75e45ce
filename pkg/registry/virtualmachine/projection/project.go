// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
)

// ZoneLabel carries the zone in which the machine runs, where the user has set no other value.
const ZoneLabel = corev1.LabelTopologyZone

// view is all that an object is made of.
type view struct {
	live            *facts.Live
	hardware        *hardwareSurvey
	uid             k8stypes.UID
	namespace, name string
	meta            *Metadata // nil for an unmanaged machine
	aside           []string  // what of the record does not count
	metaErr         error
	wentBack        bool
	installation    string
	zone            string
	taken           string // the name that it wanted and another has
	paused          string // by whom
	recalled        bool   // vCenter tells no configuration
}

// object makes the API object, without its conditions. It shares what is immutable with the view.
func (v *view) object() *vmopv1.VirtualMachine {
	m := v.live
	vm := &vmopv1.VirtualMachine{}
	vm.Name, vm.Namespace, vm.UID = v.name, v.namespace, v.uid
	vm.CreationTimestamp = metav1.NewTime(m.Created)
	vm.Generation = 1
	if record := v.meta; record != nil {
		vm.Generation = max(1, record.Generation)
		vm.Labels = record.Labels
		vm.Annotations = record.Annotations
		vm.OwnerReferences = record.OwnerReferences
		vm.ManagedFields = record.ManagedFields
		vm.DeletionTimestamp = record.deletionTimestamp()
		vm.DeletionGracePeriodSeconds = record.DeletionGracePeriodSeconds
		vm.Finalizers = slices.Clip(record.Finalizers)
		vm.Spec = record.Spec
	}
	vm.Finalizers = append(vm.Finalizers, vmoperator.MachineFinalizer)
	vm.Labels = v.labels(vm.Labels)

	power := apiPowerState(m.PowerState)
	fill(&vm.Spec.PowerState, power)
	fill(&vm.Spec.GuestID, m.GuestID)
	fill(&vm.Spec.BiosUUID, m.BIOSUUID)
	fill(&vm.Spec.InstanceUUID, m.InstanceUUID)

	s := &vm.Status
	s.PowerState = power
	if v.meta != nil {
		s.LastRestartTime = lastRestart(v.meta.Restart)
	}
	if m.Host != nil {
		s.NodeName = m.Host.Name
	}
	s.Zone = v.zone
	s.UniqueID = m.ID.Value
	s.BiosUUID = m.BIOSUUID
	s.InstanceUUID = m.InstanceUUID
	s.HardwareVersion = hardwareVersion(m.HardwareVersion)
	s.ChangeBlockTracking = m.ChangeTracking
	if m.Snapshot {
		s.CurrentSnapshot = &vmopv1.VirtualMachineSnapshotReference{Type: vmopv1.VirtualMachineSnapshotReferenceTypeUnmanaged}
	}
	guest := vmopv1.VirtualMachineGuestStatus{GuestID: m.Guest.ID, GuestFullName: m.Guest.Name}
	// Without VMware Tools the guest that the machine is configured for is the best that is known.
	fill(&guest.GuestID, m.GuestID)
	fill(&guest.GuestFullName, m.GuestName)
	if guest != (vmopv1.VirtualMachineGuestStatus{}) {
		s.Guest = &guest
	}
	s.Hardware = hardware(m, v.hardware)
	s.Volumes = v.hardware.volumes
	s.Storage = storage(m, v.hardware)
	s.Network = network(m, v.cards(), power == vmopv1.VirtualMachinePowerStateOn)
	return vm
}

// cards are the network cards of the declared interfaces, nil where none are declared.
func (v *view) cards() *facts.Cards {
	if v.meta == nil {
		return nil
	}
	return v.meta.Cards
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

// lastRestart is when the restart was asked for that is over, nil where none is. It is what says to clients which one that
// was.
func lastRestart(last facts.Restart) *metav1.Time {
	wanted, err := time.Parse(time.RFC3339, last.Wanted)
	if err != nil || !last.Done {
		return nil
	}
	return &metav1.Time{Time: wanted}
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

func hardware(m *facts.Live, d *hardwareSurvey) *vmopv1.VirtualMachineHardwareStatus {
	h := &vmopv1.VirtualMachineHardwareStatus{Controllers: d.controllers}
	if m.CPUs > 0 {
		h.CPU = &vmopv1.VirtualMachineCPUAllocationStatus{Total: m.CPUs, Reservation: m.CPU.Reservation}
	}
	if m.MemoryMB > 0 {
		h.Memory = &vmopv1.VirtualMachineMemoryAllocationStatus{Total: quantity(m.MemoryMB << 20)}
		if m.Memory.Reservation > 0 {
			h.Memory.Reservation = quantity(m.Memory.Reservation << 20)
		}
	}
	if h.CPU == nil && h.Memory == nil && len(h.Controllers) == 0 {
		return nil
	}
	return h
}

func apiPowerState(state string) vmopv1.VirtualMachinePowerState {
	switch state {
	case facts.PoweredOn:
		return vmopv1.VirtualMachinePowerStateOn
	case facts.PoweredOff:
		return vmopv1.VirtualMachinePowerStateOff
	case facts.Suspended:
		return vmopv1.VirtualMachinePowerStateSuspended
	}
	return ""
}

func quantity(n int64) *resource.Quantity { return resource.NewQuantity(n, resource.BinarySI) }

// storage tells what the disks may grow to, what they take now and what the machine's other files take. vCenter gives
// only sums over all files: committed is what they take, uncommitted what thin disks may still grow by. Both together
// are the disks' capacity and the other files. Snapshots break that sum, so the split is left out while there is one.
func storage(m *facts.Live, d *hardwareSurvey) *vmopv1.VirtualMachineStorageStatus {
	if m.Space == nil && len(d.volumes) == 0 {
		return nil
	}
	s := &vmopv1.VirtualMachineStorageStatus{}
	if len(d.volumes) > 0 {
		s.Requested = &vmopv1.VirtualMachineStorageStatusRequested{Disks: quantity(d.capacity)}
	}
	if m.Space == nil || m.Snapshot {
		return s
	}
	other := min(max(0, m.Space.Committed+m.Space.Uncommitted-d.capacity), m.Space.Committed)
	s.Used = &vmopv1.VirtualMachineStorageStatusUsed{Disks: quantity(m.Space.Committed - other), Other: quantity(other)}
	s.Total = quantity(d.capacity + other)
	return s
}
