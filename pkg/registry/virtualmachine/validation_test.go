// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/utilconversion"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
)

var created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// machine is a virtual machine that was in vCenter before, powered on.
func machine(name string) *v1alpha5.VirtualMachine {
	return &v1alpha5.VirtualMachine{
		ObjectMeta: metav1.ObjectMeta{
			Name:              name,
			Namespace:         "team-a",
			UID:               "adopted",
			ResourceVersion:   "5",
			Generation:        1,
			CreationTimestamp: metav1.NewTime(created),
			Finalizers:        []string{vmoperator.MachineFinalizer},
		},
		Spec: v1alpha5.VirtualMachineSpec{
			PowerState:   v1alpha5.VirtualMachinePowerStateOn,
			PowerOffMode: v1alpha5.VirtualMachinePowerOpModeTrySoft,
			InstanceUUID: "5037a9f4-3d0e-4a3c-8d0a-0e4c9a6f0f11",
			BiosUUID:     "4237a9f4-3d0e-4a3c-8d0a-0e4c9a6f0f12",
			Network: &v1alpha5.VirtualMachineNetworkSpec{
				Interfaces: []v1alpha5.VirtualMachineNetworkInterfaceSpec{{Name: "eth0"}, {Name: "eth1"}},
			},
			Advanced: &v1alpha5.VirtualMachineAdvancedSpec{BootDiskCapacity: ptr.To(resource.MustParse("20Gi"))},
		},
		Status: v1alpha5.VirtualMachineStatus{
			PowerState: v1alpha5.VirtualMachinePowerStateOn,
			NodeName:   "esx-1.example.com",
		},
	}
}

func TestValidateUpdate(t *testing.T) {
	spec := field.NewPath("spec")
	forbidden := func(path *field.Path) *field.Error { return field.Forbidden(path, unsupportedChange) }
	type change = func(vm, old *v1alpha5.VirtualMachine)

	for name, test := range map[string]struct {
		change change
		want   field.ErrorList
	}{
		"nothing": {func(vm, _ *v1alpha5.VirtualMachine) {}, nil},
		"metadata": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Labels = map[string]string{"a": "b"}
			vm.Annotations = map[string]string{"c": "d"}
		}, nil},
		"power off": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Spec.PowerState = v1alpha5.VirtualMachinePowerStateOff
			vm.Spec.PowerOffMode = v1alpha5.VirtualMachinePowerOpModeHard
			vm.Spec.SuspendMode = v1alpha5.VirtualMachinePowerOpModeSoft
		}, nil},
		"leave power to vCenter": {func(vm, _ *v1alpha5.VirtualMachine) { vm.Spec.PowerState, vm.Spec.PowerOffMode = "", "" },
			nil},
		"suspend": {func(vm, _ *v1alpha5.VirtualMachine) { vm.Spec.PowerState = "Suspended" }, nil},
		"suspend what is off": {func(vm, old *v1alpha5.VirtualMachine) {
			old.Status.PowerState = v1alpha5.VirtualMachinePowerStateOff
			vm.Spec.PowerState = v1alpha5.VirtualMachinePowerStateSuspended
		}, field.ErrorList{field.Invalid(spec.Child("powerState"), v1alpha5.VirtualMachinePowerStateSuspended,
			"cannot suspend a virtual machine that is powered off; power it on first")}},
		"unknown power state": {func(vm, _ *v1alpha5.VirtualMachine) { vm.Spec.PowerState = "on" }, field.ErrorList{
			field.NotSupported(spec.Child("powerState"), v1alpha5.VirtualMachinePowerState("on"),
				[]v1alpha5.VirtualMachinePowerState{"PoweredOff", "PoweredOn", "Suspended"})}},
		"unknown modes": {func(vm, _ *v1alpha5.VirtualMachine) { vm.Spec.PowerOffMode, vm.Spec.SuspendMode = "soft", "hard" },
			field.ErrorList{
				field.NotSupported(spec.Child("powerOffMode"), v1alpha5.VirtualMachinePowerOpMode("soft"),
					[]v1alpha5.VirtualMachinePowerOpMode{"Hard", "Soft", "TrySoft"}),
				field.NotSupported(spec.Child("suspendMode"), v1alpha5.VirtualMachinePowerOpMode("hard"),
					[]v1alpha5.VirtualMachinePowerOpMode{"Hard", "Soft", "TrySoft"})}},
		"power on that is held back": {func(vm, old *v1alpha5.VirtualMachine) {
			old.Spec.PowerState = v1alpha5.VirtualMachinePowerStateOff
			vm.Annotations = map[string]string{v1alpha5.CheckAnnotationPowerOn + "/backup": "running"}
		}, field.ErrorList{field.Forbidden(spec.Child("powerState"),
			"the virtual machine may not be powered on while it carries the annotation "+
				"poweron.check.vmoperator.vmware.com/backup")}},
		"restart": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Spec.NextRestartTime = time.Now().UTC().Format(time.RFC3339)
			vm.Spec.RestartMode = v1alpha5.VirtualMachinePowerOpModeHard
		}, nil},
		"restart of what is off": {func(vm, old *v1alpha5.VirtualMachine) {
			vm.Spec.NextRestartTime = time.Now().UTC().Format(time.RFC3339)
			vm.Spec.PowerState = v1alpha5.VirtualMachinePowerStateOff
		}, field.ErrorList{field.Forbidden(spec.Child("nextRestartTime"),
			"a virtual machine is restarted only while spec.powerState is PoweredOn")}},
		"planned restarts": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Spec.NextRestartTime, vm.Spec.RestartMode = "2100-01-01T00:00:00Z", "sometime"
		}, field.ErrorList{
			field.Invalid(spec.Child("nextRestartTime"), "2100-01-01T00:00:00Z",
				`set it to "now": a restart cannot be planned for another time`),
			field.NotSupported(spec.Child("restartMode"), v1alpha5.VirtualMachinePowerOpMode("sometime"),
				[]v1alpha5.VirtualMachinePowerOpMode{"Hard", "Soft", "TrySoft"})}},
		"another class, or none any more": {func(vm,
			old *v1alpha5.VirtualMachine) {
			old.Spec.ClassName, vm.Spec.ClassName = "big", ""
		}, nil},
		"what it was made of": {func(vm, old *v1alpha5.VirtualMachine) {
			old.Spec.Image = &v1alpha5.VirtualMachineImageRef{Name: "vmi-1"}
			vm.Spec.Image = &v1alpha5.VirtualMachineImageRef{Name: "vmi-2"}
			vm.Spec.StorageClass = "silver"
		}, field.ErrorList{
			field.Forbidden(spec.Child("image", "name"), remedies["spec.image.name"]),
			field.Forbidden(spec.Child("storageClass"), remedies["spec.storageClass"])}},
		"probes": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Spec.ReadinessProbe = &v1alpha5.VirtualMachineReadinessProbeSpec{PeriodSeconds: 5,
				TCPSocket: &v1alpha5.TCPSocketAction{Port: intstr.FromString("ssh")}}
		}, nil},
		"another probe, or none any more": {func(vm, old *v1alpha5.VirtualMachine) {
			old.Spec.ReadinessProbe = &v1alpha5.VirtualMachineReadinessProbeSpec{GuestHeartbeat: &v1alpha5.GuestHeartbeatAction{}}
		}, nil},
		"probes that cannot be": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Spec.ReadinessProbe = &v1alpha5.VirtualMachineReadinessProbeSpec{
				TCPSocket:      &v1alpha5.TCPSocketAction{Port: intstr.FromInt(70000), Host: "vcenter.example.com"},
				GuestInfo:      []v1alpha5.GuestInfoAction{{Key: `a"]`, Value: "("}},
				TimeoutSeconds: 61,
			}
		}, field.ErrorList{
			field.Invalid(spec.Child("readinessProbe", "tcpSocket", "port"), "70000",
				"has to be a number from 1 to 65535, or the name of a port"),
			field.Forbidden(spec.Child("readinessProbe", "tcpSocket", "host"), noProbeHost),
			field.Invalid(spec.Child("readinessProbe", "guestInfo").Index(0).Child("key"), `a"]`,
				"has to be a key of guestinfo, without that word"),
			field.Invalid(spec.Child("readinessProbe", "guestInfo").Index(0).Child("value"), "(",
				"has to be a regular expression of the kind RE2"),
			field.Invalid(spec.Child("readinessProbe"), 2, "has to have one of tcpSocket, guestHeartbeat and guestInfo"),
			field.Invalid(spec.Child("readinessProbe", "timeoutSeconds"), int32(61), "has to be from 1 to 60"),
		}},
		"identity": {func(vm, _ *v1alpha5.VirtualMachine) { vm.Spec.InstanceUUID = "x" },
			field.ErrorList{field.Forbidden(spec.Child("instanceUUID"), remedies["spec.instanceUUID"])}},
		"the deepest fields that differ": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Spec.ClassName = "best-effort-large"
			vm.Spec.Advanced.BootDiskCapacity = ptr.To(resource.MustParse("30Gi"))
			vm.Spec.Reserved = &v1alpha5.VirtualMachineReservedSpec{ResourcePolicyName: "p"}
		}, field.ErrorList{
			forbidden(spec.Child("advanced", "bootDiskCapacity")),
			forbidden(spec.Child("reserved"))}},
		"an element more": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Spec.Volumes = append(vm.Spec.Volumes, v1alpha5.VirtualMachineVolume{Name: "data"})
		}, field.ErrorList{forbidden(spec.Child("volumes"))}},
		"the same in another notation": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Spec.Advanced.BootDiskCapacity = ptr.To(resource.MustParse("20480Mi"))
			vm.Spec.Volumes = []v1alpha5.VirtualMachineVolume{}
		}, nil},
		"reclaim policy": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Annotations = map[string]string{vsphere.ReclaimPolicyAnnotation: vsphere.ReclaimDelete}
		}, nil},
		"misspelt reclaim policy": {func(vm, _ *v1alpha5.VirtualMachine) {
			vm.Annotations = map[string]string{vsphere.ReclaimPolicyAnnotation: "delete"}
		}, field.ErrorList{field.NotSupported(field.NewPath("metadata", "annotations").Key(vsphere.ReclaimPolicyAnnotation),
			"delete", []string{"Delete", "Retain"})}},
		"the end of a deletion that is under way": {func(vm, old *v1alpha5.VirtualMachine) {
			old.DeletionTimestamp = &metav1.Time{Time: created}
			old.Finalizers = append(old.Finalizers, "example.com/other")
			vm.DeletionTimestamp, vm.Finalizers = old.DeletionTimestamp, nil
		}, field.ErrorList{field.Forbidden(field.NewPath("metadata", "finalizers"),
			"vmoperator.vmware.com/virtualmachine is removed by the server "+
				"alone, once all is done that the deletion takes: leave it in the list; what the deletion waits for is told by the "+
				"conditions and Events of the object")}},
		"a finalizer of somebody else's": {func(vm, old *v1alpha5.VirtualMachine) {
			old.DeletionTimestamp = &metav1.Time{Time: created}
			old.Finalizers = append(old.Finalizers, "example.com/other")
			vm.DeletionTimestamp = old.DeletionTimestamp
		}, nil},
		"a misspelt one that was there": {func(vm, old *v1alpha5.VirtualMachine) {
			vm.Annotations = map[string]string{vsphere.ReclaimPolicyAnnotation: "delete"}
			old.Annotations = vm.Annotations
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			vm, old := machine("web-1"), machine("web-1")
			test.change(vm, old)
			got := Kind(Surroundings{Clock: clock.RealClock{}}).Strategy(nil).ValidateUpdate(context.Background(), vm, old)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrepareForUpdate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(vm, old *v1alpha5.VirtualMachine)
		want   func(vm *v1alpha5.VirtualMachine)
	}{
		"status is what vCenter reports": {
			func(vm, _ *v1alpha5.VirtualMachine) {
				vm.Status = v1alpha5.VirtualMachineStatus{PowerState: "Suspended"}
			},
			func(vm *v1alpha5.VirtualMachine) {},
		},
		"a new spec is a new generation": {
			func(vm, _ *v1alpha5.VirtualMachine) { vm.Spec.PowerState = "PoweredOff" },
			func(vm *v1alpha5.VirtualMachine) { vm.Spec.PowerState, vm.Generation = "PoweredOff", 2 },
		},
		"new labels are not": {
			func(vm, _ *v1alpha5.VirtualMachine) { vm.Labels = map[string]string{"a": "b"} },
			func(vm *v1alpha5.VirtualMachine) { vm.Labels = map[string]string{"a": "b"} },
		},
		"identity need not be repeated": {
			func(vm, _ *v1alpha5.VirtualMachine) { vm.Spec.InstanceUUID, vm.Spec.BiosUUID = "", "" },
			func(vm *v1alpha5.VirtualMachine) {},
		},
		"the server's choice of a network need not be repeated": {
			func(vm, old *v1alpha5.VirtualMachine) {
				old.Spec.Network.Interfaces[1].Network = &common.PartialObjectRef{Name: "workload"}
				vm.Spec.Network.Interfaces[1].Network = &common.PartialObjectRef{}
			},
			func(vm *v1alpha5.VirtualMachine) {
				vm.Spec.Network.Interfaces[1].Network = &common.PartialObjectRef{Name: "workload"}
			},
		},
		"another network is another one": {
			func(vm, old *v1alpha5.VirtualMachine) {
				old.Spec.Network.Interfaces[1].Network = &common.PartialObjectRef{Name: "workload"}
				vm.Spec.Network.Interfaces[1].Network = &common.PartialObjectRef{Name: "storage"}
			},
			func(vm *v1alpha5.VirtualMachine) {
				vm.Spec.Network.Interfaces[1].Network, vm.Generation = &common.PartialObjectRef{Name: "storage"}, 2
			},
		},
		"the finalizer comes back": {
			func(vm, _ *v1alpha5.VirtualMachine) { vm.Finalizers = []string{"example.com/other"} },
			func(vm *v1alpha5.VirtualMachine) {
				vm.Finalizers = []string{"example.com/other", vmoperator.MachineFinalizer}
			},
		},
		"what a client wants of the finalizer of a machine that is being deleted is left to the validation": {
			func(vm, old *v1alpha5.VirtualMachine) {
				old.DeletionTimestamp = &metav1.Time{Time: created}
				vm.DeletionTimestamp = old.DeletionTimestamp
				vm.Finalizers = nil
			},
			func(vm *v1alpha5.VirtualMachine) {
				vm.DeletionTimestamp = &metav1.Time{Time: created}
				vm.Finalizers = nil
			},
		},
		"the stash is not stored": {
			func(vm, _ *v1alpha5.VirtualMachine) {
				vm.Annotations = map[string]string{"a": "b", utilconversion.AnnotationKey: "{}"}
			},
			func(vm *v1alpha5.VirtualMachine) { vm.Annotations = map[string]string{"a": "b"} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			vm, old, want := machine("web-1"), machine("web-1"), machine("web-1")
			test.change(vm, old)
			test.want(want)
			Kind(Surroundings{Clock: clock.RealClock{}}).Strategy(nil).PrepareForUpdate(context.Background(), vm, old)
			if diff := cmp.Diff(want, vm); diff != "" {
				t.Errorf("prepared (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWarningsOnUpdate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(vm *v1alpha5.VirtualMachine)
		want   []string
	}{
		"power state of a paused machine": {func(vm *v1alpha5.VirtualMachine) {
			vm.Annotations = map[string]string{v1alpha5.PauseAnnotation: ""}
			vm.Spec.PowerState = "PoweredOff"
		}, []string{"spec.powerState: not applied while the annotation vmoperator.vmware.com/paused is set"}},
		"all else that is brought about": {func(vm *v1alpha5.VirtualMachine) {
			vm.Annotations = map[string]string{v1alpha5.PauseAnnotation: ""}
			vm.Spec.NextRestartTime, vm.Spec.ClassName = "2026-01-02T03:04:05Z", "large"
			vm.Spec.Hardware = &v1alpha5.VirtualMachineHardwareSpec{Cdrom: []v1alpha5.VirtualMachineCdromSpec{{Name: "cd"}}}
			vm.Spec.Network = &v1alpha5.VirtualMachineNetworkSpec{
				Interfaces: []v1alpha5.VirtualMachineNetworkInterfaceSpec{{Name: "eth0"}}}
		}, []string{
			"spec.nextRestartTime: not applied while the annotation vmoperator.vmware.com/paused is set",
			"spec.className: not applied while the annotation vmoperator.vmware.com/paused is set",
			"spec.hardware: not applied while the annotation vmoperator.vmware.com/paused is set",
			"spec.network: not applied while the annotation vmoperator.vmware.com/paused is set",
		}},
		"power state of a machine with the label": {func(vm *v1alpha5.VirtualMachine) {
			vm.Labels = map[string]string{v1alpha5.PausedVMLabelKey: "devops"}
			vm.Spec.PowerState = "PoweredOff"
		}, nil},
		"label of a paused machine": {func(vm *v1alpha5.VirtualMachine) {
			vm.Annotations = map[string]string{v1alpha5.PauseAnnotation: ""}
		}, nil},
		"power state": {func(vm *v1alpha5.VirtualMachine) { vm.Spec.PowerState = "PoweredOff" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			vm := machine("web-1")
			test.change(vm)
			if diff := cmp.Diff(test.want,
				Kind(Surroundings{Clock: clock.RealClock{}}).Strategy(nil).WarningsOnUpdate(context.Background(), vm,
					machine("web-1"))); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}
