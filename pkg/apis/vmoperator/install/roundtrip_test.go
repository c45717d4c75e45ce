// SPDX-License-Identifier: Apache-2.0

package install

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/utils/ptr"

	"github.com/vmware-tanzu/vm-operator/api/utilconversion"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha1"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha2"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
)

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	Install(scheme)
	return scheme
}

// served is a virtual machine as the server shows one, with a value in every
// part of the spec and the status that is read live from vCenter.
func served() *v1alpha5.VirtualMachine {
	created := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	return &v1alpha5.VirtualMachine{
		ObjectMeta: metav1.ObjectMeta{
			Name:              "web-1",
			Namespace:         "team-a",
			UID:               "5037a9f4-3d0e-4a3c-8d0a-0e4c9a6f0f11",
			ResourceVersion:   "42",
			Generation:        3,
			CreationTimestamp: created,
			Labels:            map[string]string{"app": "web"},
			Annotations:       map[string]string{"note": "kept"},
			Finalizers:        []string{"vmoperator.vmware.com/virtualmachine"},
			OwnerReferences:   []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "1"}},
		},
		Spec: v1alpha5.VirtualMachineSpec{
			ClassName:    "best-effort-small",
			Image:        &v1alpha5.VirtualMachineImageRef{Kind: "VirtualMachineImage", Name: "vmi-0123456789abcdef0"},
			ImageName:    "ubuntu",
			StorageClass: "gold",
			PowerState:   v1alpha5.VirtualMachinePowerStateOn,
			PowerOffMode: v1alpha5.VirtualMachinePowerOpModeTrySoft,
			SuspendMode:  v1alpha5.VirtualMachinePowerOpModeTrySoft,
			RestartMode:  v1alpha5.VirtualMachinePowerOpModeTrySoft,
			InstanceUUID: "5037a9f4-3d0e-4a3c-8d0a-0e4c9a6f0f11",
			BiosUUID:     "4237a9f4-3d0e-4a3c-8d0a-0e4c9a6f0f12",
			GuestID:      "ubuntu64Guest",
			Network: &v1alpha5.VirtualMachineNetworkSpec{
				HostName:   "web-1",
				Interfaces: []v1alpha5.VirtualMachineNetworkInterfaceSpec{{Name: "eth0"}},
			},
			MinHardwareVersion: 19,
			Advanced:           &v1alpha5.VirtualMachineAdvancedSpec{BootDiskCapacity: ptr.To(resource.MustParse("20Gi"))},
			Hardware: &v1alpha5.VirtualMachineHardwareSpec{
				SCSIControllers: []v1alpha5.SCSIControllerSpec{{Type: v1alpha5.SCSIControllerTypeParaVirtualSCSI}},
			},
			BootOptions: &v1alpha5.VirtualMachineBootOptions{Firmware: v1alpha5.VirtualMachineBootOptionsFirmwareTypeEFI},
		},
		Status: v1alpha5.VirtualMachineStatus{
			PowerState:   v1alpha5.VirtualMachinePowerStateOn,
			NodeName:     "esx-1.example.com",
			Zone:         "cluster-1",
			UniqueID:     "vm-42",
			BiosUUID:     "4237a9f4-3d0e-4a3c-8d0a-0e4c9a6f0f12",
			InstanceUUID: "5037a9f4-3d0e-4a3c-8d0a-0e4c9a6f0f11",
			Network:      &v1alpha5.VirtualMachineNetworkStatus{PrimaryIP4: "192.0.2.7"},
			Guest:        &v1alpha5.VirtualMachineGuestStatus{GuestID: "ubuntu64Guest", GuestFullName: "Ubuntu Linux (64-bit)"},
			Storage:      &v1alpha5.VirtualMachineStorageStatus{Total: ptr.To(resource.MustParse("20Gi"))},
			Conditions: []metav1.Condition{{
				Type: v1alpha5.VirtualMachineConditionCreated, Status: metav1.ConditionTrue, Reason: "True",
				LastTransitionTime: created,
			}},
			HardwareVersion: 19,
		},
	}
}

func older() []schema.GroupVersion { return Versions()[1:] }

func TestServedObjectSurvivesEachOlderVersion(t *testing.T) {
	scheme := newScheme()
	for _, version := range older() {
		t.Run(version.Version, func(t *testing.T) {
			spoke, err := scheme.UnsafeConvertToVersion(served(), version)
			if err != nil {
				t.Fatal(err)
			}
			if kind := spoke.GetObjectKind().GroupVersionKind(); kind != version.WithKind("VirtualMachine") {
				t.Errorf("converted to %v", kind)
			}
			if _, stashed := spoke.(metav1.Object).GetAnnotations()[utilconversion.AnnotationKey]; !stashed {
				t.Error("the older version carries no stash: fields that it does not know would be lost on a write")
			}
			hub, err := scheme.UnsafeConvertToVersion(spoke, internal)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(served(), hub); diff != "" {
				t.Errorf("hub to %s to hub (-want +got):\n%s", version.Version, diff)
			}

			again, err := scheme.UnsafeConvertToVersion(hub, version)
			if err != nil {
				t.Fatal(err)
			}
			spoke, err = scheme.UnsafeConvertToVersion(served(), version)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(spoke, again); diff != "" {
				t.Errorf("%s to hub to %[1]s (-want +got):\n%s", version.Version, diff)
			}

			// As a patch has it.
			named := served()
			named.SetGroupVersionKind(internal.WithKind("VirtualMachine"))
			if again, err = scheme.UnsafeConvertToVersion(named, version); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(spoke, again); diff != "" {
				t.Errorf("of an object that says what it is (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListItemsCarryTheStashToo(t *testing.T) {
	scheme := newScheme()
	list := &v1alpha5.VirtualMachineList{
		ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "c", RemainingItemCount: ptr.To[int64](1)},
		Items:    []v1alpha5.VirtualMachine{*served()},
	}
	for _, version := range older() {
		t.Run(version.Version, func(t *testing.T) {
			spoke, err := scheme.UnsafeConvertToVersion(list, version)
			if err != nil {
				t.Fatal(err)
			}
			hub, err := scheme.UnsafeConvertToVersion(spoke, internal)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(list, hub); diff != "" {
				t.Errorf("hub to %s to hub (-want +got):\n%s", version.Version, diff)
			}
		})
	}
}

// An object in the watch cache is shared by every request.
func TestConversionLeavesItsSourceAlone(t *testing.T) {
	scheme := newScheme()
	for _, version := range older() {
		hub := served()
		spoke, err := scheme.UnsafeConvertToVersion(hub, version)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(served(), hub); diff != "" {
			t.Errorf("%s: the hub object was written to (-before +after):\n%s", version.Version, diff)
		}
		before := spoke.DeepCopyObject()
		if _, err := scheme.UnsafeConvertToVersion(spoke, internal); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, spoke); diff != "" {
			t.Errorf("%s: the spoke object was written to (-before +after):\n%s", version.Version, diff)
		}
	}
}

func TestPowerStateThroughEachVersion(t *testing.T) {
	codecs := serializer.NewCodecFactory(newScheme())
	for _, version := range Versions() {
		for hub, wire := range map[v1alpha5.VirtualMachinePowerState]string{
			v1alpha5.VirtualMachinePowerStateOn:        "PoweredOn",
			v1alpha5.VirtualMachinePowerStateOff:       "PoweredOff",
			v1alpha5.VirtualMachinePowerStateSuspended: "Suspended",
		} {
			if version == v1alpha1.GroupVersion {
				wire = strings.ToLower(wire[:1]) + wire[1:]
			}
			vm := served()
			vm.Spec.PowerState, vm.Status.PowerState = hub, hub
			data, err := runtime.Encode(codecs.LegacyCodec(version), vm)
			if err != nil {
				t.Fatal(err)
			}
			var written struct {
				APIVersion   string
				Spec, Status struct{ PowerState string }
			}
			if err := json.Unmarshal(data, &written); err != nil {
				t.Fatal(err)
			}
			if written.APIVersion != version.String() || written.Spec.PowerState != wire || written.Status.PowerState != wire {
				t.Errorf("%s: %s is written as %+v", version.Version, hub, written)
			}
			read, err := runtime.Decode(codecs.UniversalDecoder(internal), data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(vm, read); diff != "" {
				t.Errorf("%s: read back (-want +got):\n%s", version.Version, diff)
			}
		}
	}
}

func TestWriteThroughAnOlderVersion(t *testing.T) {
	scheme := newScheme()
	spoke, err := scheme.UnsafeConvertToVersion(served(), v1alpha2.GroupVersion)
	if err != nil {
		t.Fatal(err)
	}
	old := spoke.(*v1alpha2.VirtualMachine)
	old.Spec.PowerState = v1alpha2.VirtualMachinePowerStateOff
	old.Labels["tier"] = "front"
	got, err := scheme.UnsafeConvertToVersion(old, internal)
	if err != nil {
		t.Fatal(err)
	}
	want := served()
	want.Spec.PowerState = v1alpha5.VirtualMachinePowerStateOff
	want.Labels["tier"] = "front"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

// The stash would overrule these.
func TestWriteThatWouldBeDroppedIsRefused(t *testing.T) {
	scheme := newScheme()
	for name, test := range map[string]struct {
		version schema.GroupVersion
		change  func(runtime.Object)
		want    string
	}{
		"image": {v1alpha2.GroupVersion, func(obj runtime.Object) { obj.(*v1alpha2.VirtualMachine).Spec.ImageName = "other" },
			"spec.imageName: cannot be changed through this version; use vmoperator.vmware.com/v1alpha5"},
		"network and ports": {v1alpha1.GroupVersion, func(obj runtime.Object) {
			vm := obj.(*v1alpha1.VirtualMachine)
			vm.Spec.NetworkInterfaces[0].NetworkName = "other"
			vm.Spec.Ports = []v1alpha1.VirtualMachinePort{{Port: 80}}
		}, "spec.ports, spec.networkInterfaces[0].networkName: cannot be changed through this version; use " +
			"vmoperator.vmware.com/v1alpha5"},
	} {
		t.Run(name, func(t *testing.T) {
			spoke, err := scheme.UnsafeConvertToVersion(served(), test.version)
			if err != nil {
				t.Fatal(err)
			}
			test.change(spoke)
			if _, err := scheme.UnsafeConvertToVersion(spoke, internal); err == nil || err.Error() != test.want {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestDamagedStashIsRefused(t *testing.T) {
	vm := &v1alpha2.VirtualMachine{}
	vm.Annotations = map[string]string{utilconversion.AnnotationKey: "{"}
	_, err := newScheme().UnsafeConvertToVersion(vm, internal)
	if err == nil || !strings.Contains(err.Error(), utilconversion.AnnotationKey) {
		t.Fatalf("got %v, want an error that names the annotation", err)
	}
}

func TestPreferredVersions(t *testing.T) {
	got := newScheme().PrioritizedVersionsForGroup(v1alpha5.GroupName)
	if diff := cmp.Diff(Versions(), got); diff != "" {
		t.Errorf("priority (-want +got):\n%s", diff)
	}
}
