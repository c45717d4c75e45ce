// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	clocktesting "k8s.io/utils/clock/testing"
)

// TestReplacedByItsManifest: who replaces a machine by the manifest that it was made of need not say what the server
// chose.
func TestReplacedByItsManifest(t *testing.T) {
	manifest := func() *v1alpha5.VirtualMachine {
		vm := &v1alpha5.VirtualMachine{}
		vm.Name = "web"
		vm.Spec.ClassName, vm.Spec.StorageClass, vm.Spec.ImageName = "small", "gold", "ubuntu-24.04"
		vm.Spec.PowerState = v1alpha5.VirtualMachinePowerStateOn
		vm.Spec.Bootstrap = &v1alpha5.VirtualMachineBootstrapSpec{CloudInit: &v1alpha5.VirtualMachineBootstrapCloudInitSpec{}}
		return vm
	}
	made := manifest()
	made.Spec.Image = &v1alpha5.VirtualMachineImageRef{Kind: "VirtualMachineImage", Name: "vmi-1"}
	made.Spec.GuestID, made.Spec.InstanceUUID, made.Spec.BiosUUID = "ubuntu64Guest", "uid", "bios"
	made.Spec.Bootstrap.CloudInit.InstanceID = "bios"
	made.Spec.Network = &v1alpha5.VirtualMachineNetworkSpec{Interfaces: []v1alpha5.VirtualMachineNetworkInterfaceSpec{
		{Name: "eth0", Network: &common.PartialObjectRef{Name: "workload-net"}}}}
	made.Spec.NextRestartTime = "2026-03-01T12:00:00Z"

	r := rules{clocktesting.NewFakePassiveClock(created)}
	again := manifest()
	r.prepareUpdate(context.Background(), again, made)
	if diff := cmp.Diff(made.Spec, again.Spec); diff != "" {
		t.Errorf("replaced by its manifest (-was +is):\n%s", diff)
	}
	if errs := r.validateUpdate(context.Background(), again, made); len(errs) > 0 {
		t.Errorf("refused: %v", errs)
	}

	other := manifest()
	other.Spec.ImageName = "photon"
	r.prepareUpdate(context.Background(), other, made)
	if errs := r.validateUpdate(context.Background(), other, made); len(errs) == 0 {
		t.Error("another image is taken for the one before")
	}
}

func TestRestartIsStamped(t *testing.T) {
	for name, test := range map[string]struct{ before, said, want string }{
		"never":                             {"", "", ""},
		"first":                             {"", "now", "2026-03-01T12:00:00Z"},
		"in capitals":                       {"", "NOW", "2026-03-01T12:00:00Z"},
		"again":                             {"2026-02-01T00:00:00Z", "now", "2026-03-01T12:00:00Z"},
		"twice in one second":               {"2026-03-01T12:00:00Z", "now", "2026-03-01T12:00:01Z"},
		"by a clock that was put back":      {"2026-03-01T13:00:00Z", "now", "2026-03-01T13:00:01Z"},
		"left out":                          {"2026-02-01T00:00:00Z", "", "2026-02-01T00:00:00Z"},
		"as it was":                         {"2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"},
		"another time stays, to be refused": {"", "tomorrow", "tomorrow"},
	} {
		vm, before := machine("web"), machine("web")
		before.Spec.NextRestartTime, vm.Spec.NextRestartTime = test.before, test.said
		vm.Spec.PowerState, before.Spec.PowerState = v1alpha5.VirtualMachinePowerStateOn, v1alpha5.VirtualMachinePowerStateOn
		r := rules{clocktesting.NewFakePassiveClock(created.Add(300 * time.Millisecond))}
		r.prepareUpdate(context.Background(), vm, before)
		if got := vm.Spec.NextRestartTime; got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		if errs := r.validateRestart(vm, before); (len(errs) > 0) != (test.want == "tomorrow") {
			t.Errorf("%s: refused: %v", name, errs)
		}
	}
}
