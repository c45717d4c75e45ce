// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/test/e2e/framework"
	conformance "k8s.io/kubernetes/test/e2e/framework/conformance"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

// TestConformance runs Kubernetes' own test of an API resource against VirtualMachine, which vCenter holds, and against
// those that are declared.
func TestConformance(t *testing.T) {
	s := running(t)
	namespace := s.Shop(t, "conformance")
	gomega.RegisterFailHandler(ginkgo.Fail)
	gomega.SetDefaultEventuallyTimeout(30 * time.Second)
	in := func(config *rest.Config) *framework.Framework {
		f := &framework.Framework{
			BaseName: "conformance", UniqueName: "conformance", Timeouts: framework.NewTimeoutContext(),
			Namespace:     &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
			DynamicClient: dynamic.NewForConfigOrDie(config),
		}
		f.SetClientConfig(config)
		return f
	}
	ginkgo.Describe("VirtualMachine", func() {
		ginkgo.It("behaves as a resource of Kubernetes", func(ctx context.Context) {
			conformance.TestResource(ctx, in(s.Config(t)), testcase())
		})
	})
	ginkgo.Describe("VirtualMachineClass", func() {
		ginkgo.It("behaves as a resource of Kubernetes", func(ctx context.Context) {
			conformance.TestResource(ctx, in(s.Config(t)), classcase())
		})
	})
	ginkgo.Describe("VirtualMachineSetResourcePolicy", func() {
		ginkgo.It("behaves as a resource of Kubernetes", func(ctx context.Context) {
			conformance.TestResource(ctx, in(s.Config(t)), policycase())
		})
	})
	ginkgo.Describe("VirtualMachineService", func() {
		ginkgo.It("behaves as a resource of Kubernetes", func(ctx context.Context) {
			conformance.TestResource(ctx, in(s.Config(t)), servicecase())
		})
	})
	suite, reporter := ginkgo.GinkgoConfiguration()
	reporter.Succinct = true
	ginkgo.RunSpecs(t, "conformance", suite, reporter)
}

func testcase() *conformance.ResourceTestcase[*vmopv1.VirtualMachine] {
	const merge = `{"metadata":{"labels":{"changed":"yes"}},"spec":{"powerOffMode":"Hard"}}`
	return &conformance.ResourceTestcase[*vmopv1.VirtualMachine]{
		GVR:        supervisortest.Machines,
		Namespaced: ptr(true),
		InitialSpec: &vmopv1.VirtualMachine{
			TypeMeta:   metav1.TypeMeta{APIVersion: vmopv1.GroupVersion.String(), Kind: "VirtualMachine"},
			ObjectMeta: metav1.ObjectMeta{Name: "conformance"},
			Spec: vmopv1.VirtualMachineSpec{ClassName: "best-effort-small", ImageName: "ubuntu-24.04",
				StorageClass: "bronze-storage", PowerState: vmopv1.VirtualMachinePowerStateOff},
		},
		UpdateSpec: func(vm *vmopv1.VirtualMachine) *vmopv1.VirtualMachine {
			metav1.SetMetaDataLabel(&vm.ObjectMeta, "changed", "yes")
			vm.Spec.PowerOffMode = vmopv1.VirtualMachinePowerOpModeHard
			return vm
		},
		StrategicMergePatchSpec: merge,
		ApplyPatchSpec:          merge,
		JSONMergePatchSpec:      merge,
		JSONPatchSpec:           `[{"op":"add","path":"/metadata/labels/changed","value":"yes"},{"op":"add","path":"/spec/powerOffMode","value":"Hard"}]`,
	}
}

func classcase() *conformance.ResourceTestcase[*vmopv1.VirtualMachineClass] {
	const merge = `{"metadata":{"labels":{"changed":"yes"}},"spec":{"description":"larger","hardware":{"cpus":4,"memory":"4Gi"}}}`
	return &conformance.ResourceTestcase[*vmopv1.VirtualMachineClass]{
		GVR:        vmopv1.GroupVersion.WithResource("virtualmachineclasses"),
		Namespaced: ptr(true),
		InitialSpec: &vmopv1.VirtualMachineClass{
			TypeMeta:   metav1.TypeMeta{APIVersion: vmopv1.GroupVersion.String(), Kind: "VirtualMachineClass"},
			ObjectMeta: metav1.ObjectMeta{Name: "conformance"},
			Spec: vmopv1.VirtualMachineClassSpec{Hardware: vmopv1.VirtualMachineClassHardware{Cpus: 2,
				Memory: resource.MustParse("4Gi")}},
		},
		UpdateSpec: func(class *vmopv1.VirtualMachineClass) *vmopv1.VirtualMachineClass {
			metav1.SetMetaDataLabel(&class.ObjectMeta, "changed", "yes")
			class.Spec.Description, class.Spec.Hardware.Cpus = "larger", 4
			return class
		},
		StrategicMergePatchSpec: merge,
		ApplyPatchSpec:          merge,
		JSONMergePatchSpec:      merge,
		JSONPatchSpec: `[{"op":"add","path":"/metadata/labels/changed","value":"yes"},{"op":"add","path":"/spec/description","value":"larger"},` +
			`{"op":"replace","path":"/spec/hardware/cpus","value":4}]`,
	}
}

func policycase() *conformance.ResourceTestcase[*vmopv1.VirtualMachineSetResourcePolicy] {
	const merge = `{"metadata":{"labels":{"changed":"yes"}}}`
	return &conformance.ResourceTestcase[*vmopv1.VirtualMachineSetResourcePolicy]{
		GVR:        vmopv1.GroupVersion.WithResource("virtualmachinesetresourcepolicies"),
		Namespaced: ptr(true),
		InitialSpec: &vmopv1.VirtualMachineSetResourcePolicy{
			TypeMeta:   metav1.TypeMeta{APIVersion: vmopv1.GroupVersion.String(), Kind: "VirtualMachineSetResourcePolicy"},
			ObjectMeta: metav1.ObjectMeta{Name: "conformance"},
			Spec:       vmopv1.VirtualMachineSetResourcePolicySpec{Folder: "conformance", ClusterModuleGroups: []string{"workers"}},
		},
		UpdateSpec: func(policy *vmopv1.VirtualMachineSetResourcePolicy) *vmopv1.VirtualMachineSetResourcePolicy {
			metav1.SetMetaDataLabel(&policy.ObjectMeta, "changed", "yes")
			return policy
		},
		StrategicMergePatchSpec: merge,
		ApplyPatchSpec:          merge,
		JSONMergePatchSpec:      merge,
		JSONPatchSpec:           `[{"op":"add","path":"/metadata/labels/changed","value":"yes"}]`,
	}
}

func servicecase() *conformance.ResourceTestcase[*vmopv1.VirtualMachineService] {
	const merge = `{"metadata":{"labels":{"changed":"yes"}},"spec":{"selector":{"app":"other"}}}`
	return &conformance.ResourceTestcase[*vmopv1.VirtualMachineService]{
		GVR:        vmopv1.GroupVersion.WithResource("virtualmachineservices"),
		Namespaced: ptr(true),
		InitialSpec: &vmopv1.VirtualMachineService{
			TypeMeta:   metav1.TypeMeta{APIVersion: vmopv1.GroupVersion.String(), Kind: "VirtualMachineService"},
			ObjectMeta: metav1.ObjectMeta{Name: "conformance"},
			Spec: vmopv1.VirtualMachineServiceSpec{Type: vmopv1.VirtualMachineServiceTypeClusterIP, Selector: map[string]string{"app": "web"},
				Ports: []vmopv1.VirtualMachineServicePort{{Name: "http", Protocol: "TCP", Port: 80, TargetPort: 80}}},
		},
		UpdateSpec: func(service *vmopv1.VirtualMachineService) *vmopv1.VirtualMachineService {
			metav1.SetMetaDataLabel(&service.ObjectMeta, "changed", "yes")
			service.Spec.Selector = map[string]string{"app": "other"}
			return service
		},
		StrategicMergePatchSpec: merge,
		ApplyPatchSpec:          merge,
		JSONMergePatchSpec:      merge,
		JSONPatchSpec:           `[{"op":"add","path":"/metadata/labels/changed","value":"yes"},{"op":"replace","path":"/spec/selector","value":{"app":"other"}}]`,
	}
}
