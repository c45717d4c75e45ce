// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	created = vmopv1.VirtualMachineConditionCreated
	storage = vmopv1.VirtualMachineConditionStorageReady
	powered = vmopv1.VirtualMachinePowerStateSynced
)

// vcenterErrors are what vCenter may answer while a machine is made, and what its owner is told: the conditions that are
// False, their reason, and words of their message.
var vcenterErrors = []struct {
	method     string
	fault      types.BaseMethodFault
	conditions []string
	reason     string
	words      []string
}{
	{"CopyVirtualDisk_Task", &types.NoDiskSpace{Datastore: "nfs-fast"}, []string{created, storage}, "DatastoreFull",
		[]string{`"nfs-fast" is full`}},
	{"CopyVirtualDisk_Task", &types.NoPermission{Object: &types.ManagedObjectReference{Type: "Datastore", Value: "datastore-12"},
		PrivilegeId: "Datastore.FileManagement"}, []string{created}, "MissingPrivilege",
		[]string{"Datastore.FileManagement", "datastore-12"}},
	{"CopyVirtualDisk_Task", &types.InaccessibleDatastore{InvalidDatastore: types.InvalidDatastore{Name: "nfs-fast"}},
		[]string{created, storage}, "FileUnavailable", []string{"nfs-fast"}},
	{"CopyVirtualDisk_Task", &types.CannotAccessFile{FileFault: types.FileFault{File: "[nfs-bulk] x.vmdk"}},
		[]string{created, storage}, "FileUnavailable", []string{"[nfs-bulk] x.vmdk"}},
	{"CopyVirtualDisk_Task", &types.HostNotConnected{}, []string{created}, "HostUnreachable", []string{"does not reach the host"}},
	{"CopyVirtualDisk_Task", &types.SystemError{}, []string{created}, "BuildFailed", []string{"SystemError"}},
	{"ReconfigVM_Task", &types.InvalidDeviceSpec{DeviceIndex: 1, InvalidVmConfig: types.InvalidVmConfig{Property: "backing"}},
		[]string{created}, "InvalidConfiguration", []string{"device 1", "backing"}},
	{"ReconfigVM_Task", &types.GenericVmConfigFault{Reason: "no such thing"}, []string{created}, "InvalidConfiguration",
		[]string{"no such thing"}},
	{"ReconfigVM_Task", &types.MethodDisabled{Source: "com.example.backup"}, []string{created}, "DisabledInVCenter",
		[]string{"com.example.backup"}},
	{"ReconfigVM_Task", &types.DisallowedChangeByService{ServiceName: "hbr"}, []string{created}, "DisabledInVCenter",
		[]string{`"hbr"`}},
	{"ReconfigVM_Task", &types.TooManyDevices{}, []string{created}, "InvalidConfiguration", []string{"TooManyDevices"}},
	{"PowerOnVM_Task", &types.InsufficientMemoryResourcesFault{}, []string{powered}, "InsufficientResources",
		[]string{"not enough resources"}},
	{"PowerOnVM_Task", &types.NoCompatibleHost{}, []string{powered}, "InsufficientResources", []string{"no host"}},
	{"PowerOnVM_Task", &types.RuleViolation{}, []string{powered}, "InsufficientResources", []string{"RuleViolation"}},
	{"PowerOnVM_Task", &types.NotEnoughLicenses{}, []string{powered}, "NotLicensed", []string{"licence"}},
	{"PowerOnVM_Task", &types.NoDiskSpace{Datastore: "nfs-fast"}, []string{powered}, "DatastoreFull", []string{"is full"}},
	{"PowerOnVM_Task", &types.InvalidVmConfig{Property: "configSpec.x"}, []string{powered}, "InvalidConfiguration",
		[]string{"configSpec.x"}},
	{"PowerOnVM_Task", &types.NoPermission{Object: &types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-9"},
		PrivilegeId: "VirtualMachine.Interact.PowerOn"}, []string{powered}, "MissingPrivilege",
		[]string{"VirtualMachine.Interact.PowerOn", "vm-9"}},
}

// TestVCenterErrors has vCenter refuse each step of making a machine, at once and by its task: the machine's conditions
// say what is wrong in a word that programs can go by and in a sentence for people. When vCenter lets it, it is made, and
// nothing is said any more.
func TestVCenterErrors(t *testing.T) {
	t.Parallel()
	l := newLoaded(t, "errors", vcentertest.Sample)
	for shape, how := range map[fault.Shape]string{fault.Refused: "at-once", fault.TaskFails: "by-its-task"} {
		for i, wrong := range vcenterErrors {
			name := fmt.Sprintf("vm-%d-%s", i, how)
			l.vcenter.AddFault(fault.Rule{Method: wrong.method, Shape: shape, Fault: wrong.fault})
			if _, err := l.ask(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			waittest.Within(t, time.Minute, fmt.Sprintf("what a %T of %s %s is told as", wrong.fault, wrong.method, how),
				func(ctx context.Context) error { return l.told(ctx, name, wrong.conditions, wrong.reason, wrong.words) })
			l.vcenter.ClearFaults()
			if i == 0 || wrong.method == "PowerOnVM_Task" && wrong.reason == "NotLicensed" {
				l.on(2*time.Minute, "vm", 1)
				for _, kind := range wrong.conditions {
					waittest.Within(t, time.Minute, kind+" is over", func(ctx context.Context) error {
						vm, err := l.machines.Get(ctx, name, metav1.GetOptions{})
						if err == nil && condition(vm, kind)["status"] == "False" {
							err = fmt.Errorf("it is %v", condition(vm, kind))
						}
						return err
					})
				}
			}
			if err := l.machines.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			waittest.Within(t, time.Minute, name+" to go", func(ctx context.Context) error {
				if _, err := l.machines.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
					return fmt.Errorf("it is there, or nobody knows: %v", err)
				}
				return nil
			})
		}
	}
	if left := l.left(l.Admin(t), "vm-"); len(left) > 0 {
		t.Errorf("left in vCenter: %v", left)
	}
}

// told says how the conditions of a machine differ from those that it is to have.
func (l *loaded) told(ctx context.Context, name string, conditions []string, reason string, words []string) error {
	vm, err := l.machines.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, kind := range conditions {
		got := condition(vm, kind)
		message := fmt.Sprint(got["message"])
		if got["status"] != "False" || got["reason"] != reason {
			return fmt.Errorf("%s is %v, want it False for %s", kind, got, reason)
		}
		for _, word := range words {
			if !strings.Contains(message, word) {
				return fmt.Errorf("%s says %q, want %q", kind, message, word)
			}
		}
		if strings.Contains(message, "ServerFaultCode") || strings.Contains(message, "\n") {
			return fmt.Errorf("%s has what is nothing for people: %q", kind, message)
		}
	}
	return nil
}
