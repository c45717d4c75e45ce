// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/registry"
)

// columns returns vm-operator's columns, then what else a wide table has room for.
func columns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: "The name of the virtual machine."},
		{Name: "Power-State", Type: "string", Description: "The power state that vCenter reports."},
		{Name: "Class", Type: "string", Priority: 1, Description: "The class of the virtual machine."},
		{Name: "Image", Type: "string", Priority: 1, Description: "The image that the virtual machine was made from."},
		{Name: "Primary-IP4", Type: "string", Priority: 1, Description: "The IPv4 address that the guest reports first."},
		{Name: "Age", Type: "string", Description: "The time since the virtual machine was created in vCenter."},
		{Name: "Host", Type: "string", Priority: 1, Description: "The ESXi host that the virtual machine lies on."},
		{Name: "Zone", Type: "string", Priority: 1, Description: "The zone that the virtual machine lies in."},
		{Name: "Guest-OS", Type: "string", Priority: 1, Description: "The guest operating system."},
	}
}

// columnCount is the number of columns.
const columnCount = 9

// table prints virtual machines. It does so for ten thousand at a time, so it
// builds all cells in one piece and asks nothing by reflection.
func table(clock clock.PassiveClock, fallback rest.TableConvertor) registry.Table[v1alpha5.VirtualMachine, v1alpha5.VirtualMachineList] {
	return registry.Table[v1alpha5.VirtualMachine, v1alpha5.VirtualMachineList]{
		Columns: columns,
		Items: func(list *v1alpha5.VirtualMachineList) (metav1.ListMeta, []v1alpha5.VirtualMachine) {
			return list.ListMeta, list.Items
		},
		Rows: func(count int, at func(int) *v1alpha5.VirtualMachine) []metav1.TableRow {
			return rows(clock.Now(), count, at)
		},
		Fallback: fallback,
	}
}

func rows(now time.Time, count int, at func(int) *v1alpha5.VirtualMachine) []metav1.TableRow {
	rows := make([]metav1.TableRow, count)
	cells := make([]any, count*columnCount)
	for i := range rows {
		vm := at(i)
		row := cells[i*columnCount : (i+1)*columnCount : (i+1)*columnCount]
		row[0] = vm.Name
		row[1] = string(vm.Status.PowerState)
		row[2] = vm.Spec.ClassName
		row[3] = imageName(vm)
		row[4] = primaryIP4(vm)
		row[5] = registry.Age(now, vm.CreationTimestamp)
		row[6] = vm.Status.NodeName
		row[7] = vm.Status.Zone
		row[8] = guestOS(vm)
		rows[i] = metav1.TableRow{Cells: row, Object: runtime.RawExtension{Object: vm}}
	}
	return rows
}

func imageName(vm *v1alpha5.VirtualMachine) string {
	if vm.Spec.Image != nil {
		return vm.Spec.Image.Name
	}
	return vm.Spec.ImageName
}

func primaryIP4(vm *v1alpha5.VirtualMachine) string {
	if vm.Status.Network == nil {
		return ""
	}
	return vm.Status.Network.PrimaryIP4
}

func guestOS(vm *v1alpha5.VirtualMachine) string {
	switch guest := vm.Status.Guest; {
	case guest == nil:
		return vm.Spec.GuestID
	case guest.GuestFullName != "":
		return guest.GuestFullName
	default:
		return guest.GuestID
	}
}
