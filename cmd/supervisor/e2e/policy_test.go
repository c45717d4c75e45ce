// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/vmware/govmomi/find"
	"k8s.io/apimachinery/pkg/api/meta"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
)

// TestResourcePolicy has a developer make a machine by a resource policy, as she would that of a cluster: both are there
// in vCenter where they belong, and nothing is left when they are deleted.
func TestResourcePolicy(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := s.Shop(t, "policy-shop")
	const sample = "../../../artifacts/samples/resourcepolicy.yaml"
	s.Kubectl(t, "apply", "-n", namespace, "-f", sample)
	s.Kubectl(t, "wait", "vm/my-worker", "-n", namespace, "--for=condition=VirtualMachineCreated", "--timeout=60s")
	s.Kubectl(t, "wait", "vm/my-worker", "-n", namespace,
		"--for=condition=VirtualMachineConditionVMSetResourcePolicyReady", "--timeout=60s")
	if out, err := s.Try(t.Context(), "kubectl", "diff", "-n", namespace, "-f", sample); err != nil {
		t.Errorf("it differs from what was applied: %v\n%s", err, out)
	}

	// In vCenter the machine lies in the policy's folder, and here it goes by its own name.
	vm := s.get(t, namespace, "my-worker")
	finder := find.NewFinder(a.Builder.Client.Client)
	found, err := finder.VirtualMachine(t.Context(), "/DC0/vm/Namespaces/"+namespace+"/my-cluster/my-worker")
	if err != nil || found.Reference().Value != vm.Status.UniqueID {
		t.Fatalf("in the policy's folder lies %v, and the machine is %s: %v", found, vm.Status.UniqueID, err)
	}
	pool, err := finder.ResourcePool(t.Context(), "/DC0/host/"+vm.Status.Zone+"/Resources/"+namespace+"/my-cluster")
	if err != nil {
		t.Fatal(err)
	}
	if from, err := found.ResourcePool(t.Context()); err != nil || from.Reference() != pool.Reference() {
		t.Errorf("it takes from the pool %v, and the policy's is %v: %v", from, pool, err)
	}
	if !meta.IsStatusConditionTrue(vm.Status.Conditions, vmopv1.VirtualMachineConditionVMSetResourcePolicyReady) {
		t.Errorf("conditions %+v", vm.Status.Conditions)
	}
	shown := s.Kubectl(t, "get", "virtualmachinesetresourcepolicies.v1alpha1.vmoperator.vmware.com", "my-cluster", "-n", namespace,
		"-o", "jsonpath={.spec.folder.name} {.spec.clustermodules[*].groupname} {.status.clustermodules[*].groupname} {.status.resourcePools[*].childResourcePoolMoID}")
	if want := "my-cluster control-plane-group workers control-plane-group control-plane-group workers workers "; !strings.HasPrefix(shown, want) ||
		!strings.Contains(shown, pool.Reference().Value) {
		t.Errorf("at v1alpha1 it is shown as %q, want %q and the pools", shown, want)
	}

	// It cannot be changed, nor go from below the machine.
	for what, patch := range map[string]string{
		"virtualmachinesetresourcepolicies/my-cluster": `{"spec":{"folder":"other"}}`,
		"vm/my-worker": `{"spec":{"reserved":{"resourcePolicyName":"other"}}}`,
	} {
		out, err := s.Try(t.Context(), "kubectl", "patch", what, "-n", namespace, "--type=merge", "-p", patch)
		if err == nil || !strings.Contains(out, "spec.") {
			t.Errorf("patch %s: %v\n%s", what, err, out)
		}
	}
	s.Kubectl(t, "delete", "virtualmachinesetresourcepolicies/my-cluster", "-n", namespace, "--wait=false")
	s.Kubectl(t, "wait", "virtualmachinesetresourcepolicies/my-cluster", "-n", namespace,
		"--for=jsonpath={.metadata.deletionTimestamp}", "--timeout=30s")
	s.Kubectl(t, "delete", "vm/my-worker", "-n", namespace, "--timeout=60s")
	s.Kubectl(t, "wait", "virtualmachinesetresourcepolicies/my-cluster", "-n", namespace, "--for=delete", "--timeout=60s")
	for _, path := range []string{"/DC0/vm/Namespaces/" + namespace + "/*", "/DC0/host/*/Resources/" + namespace + "/*"} {
		if left, err := finder.ManagedObjectList(t.Context(), path); err == nil && len(left) > 0 {
			t.Errorf("left in vCenter: %v", left)
		}
	}
}
