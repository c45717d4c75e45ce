// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
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
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestConformance runs Kubernetes' own test of an API resource against VirtualMachine, which vCenter holds, and against
// those that are declared.
func TestConformance(t *testing.T) {
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("conformance")
	config := s.Config(t)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return creator{admin: a, next: next}
	})
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
			conformance.TestResource(ctx, in(config), testcase())
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

// creator stands in for creation, which the server does not offer yet: instead of a POST, the machine is made in
// vCenter as one that Pacific made, and the answer is what the server then serves. All else goes to the server.
type creator struct {
	admin *supervisortest.Admin
	next  http.RoundTripper
}

func (c creator) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodPost || !strings.HasSuffix(request.URL.Path, "/virtualmachines") {
		return c.next.RoundTrip(request)
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	var object metav1.PartialObjectMetadata
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, err
	}
	if _, err := c.admin.CreateAsPacific(object.Namespace, object.Name, object.Labels); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(request.Context(), 20*time.Second)
	defer cancel()
	var response *http.Response
	err = waittest.Poll(ctx, func() error {
		read := request.Clone(request.Context())
		read.Method, read.Body, read.ContentLength, read.URL.RawQuery = http.MethodGet, nil, 0, ""
		read.URL.Path += "/" + object.Name
		var err error
		if response, err = c.next.RoundTrip(read); err != nil {
			return err
		}
		answer, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		response.Body = io.NopCloser(bytes.NewReader(answer))
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("read what was created: %s", answer)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	response.StatusCode, response.Status = http.StatusCreated, "201 Created"
	return response, nil
}
