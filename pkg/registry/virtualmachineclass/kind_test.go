// SPDX-License-Identifier: Apache-2.0

package virtualmachineclass_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineclass"
)

// administrators are those who may update vSphere Namespaces in the whole cluster. Nobody else may do anything.
type administrators []string

func (a administrators) Authorize(_ context.Context, asked authorizer.Attributes) (authorizer.Decision, string, error) {
	if asked.GetVerb() != "update" || asked.GetAPIGroup() != "vsphere.openpacific.io" ||
		asked.GetResource() != "namespaces" || asked.GetNamespace() != "" {
		return authorizer.DecisionDeny, "", fmt.Errorf("a foreign question: %+v", asked)
	}
	for _, name := range a {
		if asked.GetUser().GetName() == name {
			return authorizer.DecisionAllow, "", nil
		}
	}
	return authorizer.DecisionNoOpinion, "", nil
}

const path = "/apis/vmoperator.vmware.com/v1alpha5/namespaces/team-a/virtualmachineclasses"

func serve(t *testing.T, objects *registry.Objects) (*kindtest.Server,
	*registry.Resource[v1alpha5.VirtualMachineClass, v1alpha5.VirtualMachineClassList]) {
	t.Helper()
	frame := kindtest.NewFrame(install.Install, kindtest.Clock{At: time.Now()})
	frame.Objects = objects
	classes, err := registry.ServeDeclared(frame, virtualmachineclass.Kind(administrators{kindtest.Admin}))
	if err != nil {
		t.Fatal(err)
	}
	return kindtest.Serve(t, frame, classes), classes
}

func manifest(name, spec string) string {
	return `{"apiVersion":"vmoperator.vmware.com/v1alpha5","kind":"VirtualMachineClass","metadata":{"name":"` + name +
		`"},"spec":` + spec + `}`
}

const small = `{"hardware":{"cpus":2,"memory":"4Gi"}}`

// Who may not say how much of vCenter is taken makes no class and changes none; what a class is besides they may say.
func TestWhoMayWrite(t *testing.T) {
	server, _ := serve(t, etcd(t))
	const merge = "application/merge-patch+json"
	for _, test := range []struct {
		who, method, path, contentType, body string
		code                                 int
	}{
		{"dev", "POST", "", "", manifest("huge", small), http.StatusForbidden},
		{kindtest.Admin, "POST", "", "", manifest("mine", small), http.StatusCreated},
		{"dev", "PATCH", "/mine", merge, `{"spec":{"hardware":{"cpus":64}}}`, http.StatusForbidden},
		{"dev", "PATCH", "/mine?fieldManager=dev&force=true", "application/apply-patch+yaml", manifest("huge", small),
			http.StatusBadRequest},
		{"dev", "PATCH", "/huge?fieldManager=dev", "application/apply-patch+yaml", manifest("huge", small),
			http.StatusForbidden},
		{"dev", "PATCH", "/mine", merge, `{"metadata":{"labels":{"a":"b"}}}`, http.StatusOK},
		{kindtest.Admin, "PATCH", "/mine", merge, `{"spec":{"hardware":{"cpus":4}}}`, http.StatusOK},
		// As the controllers of Kubernetes do at the end of a Namespace, whom RBAC allows no more than that.
		{"dev", "DELETE", "", "", "", http.StatusOK},
	} {
		got := server.Do(test.method, path+test.path, test.body, "Content-Type", test.contentType, kindtest.UserHeader,
			test.who)
		if got.Code != test.code {
			t.Errorf("%s %s %s by %s: %d %s, want %d", test.method, test.path, test.body, test.who, got.Code, got.Body,
				test.code)
		}
	}
}

func TestValidation(t *testing.T) {
	server, _ := serve(t, etcd(t))
	for spec, want := range map[string]string{
		small: "",
		`{"hardware":{"cpus":2,"memory":"4Gi"},"policies":{"resources":{"requests":{"cpu":"2","memory":"4Gi"},"limits":{"cpu":"2","memory":"4Gi"}}}}`: "",
		`{"hardware":{"cpus":2,"memory":"4Gi"},"configSpec":{"_typeName":"VirtualMachineConfigSpec","numCPUs":2}}`:                                    "",
		`{}`:                      "spec.hardware.cpus: Invalid value: 0: a machine has at least one",
		`{"hardware":{"cpus":2}}`: "spec.hardware.memory: Invalid value",
		`{"hardware":{"cpus":4294967298,"memory":"4Gi"}}`:                                                               "spec.hardware.cpus: Invalid value: 4294967298: it is more than vCenter counts",
		`{"hardware":{"cpus":2,"memory":"4Ei"}}`:                                                                        "spec.hardware.memory: Invalid value: \"4Ei\": it is more than vCenter counts",
		`{"hardware":{"cpus":2,"memory":"4Gi"},"policies":{"resources":{"limits":{"cpu":"4G"}}}}`:                       "spec.policies.resources.limits.cpu: Invalid value: \"4G\": it is more than vCenter counts",
		`{"hardware":{"cpus":2,"memory":"100k"}}`:                                                                       "it must be whole mebibytes",
		`{"hardware":{"cpus":2,"memory":"4Gi"},"policies":{"resources":{"requests":{"cpu":"3"},"limits":{"cpu":"2"}}}}`: "spec.policies.resources.requests.cpu: Invalid value: \"3\": it is more than the limit, 2",
		`{"hardware":{"cpus":2,"memory":"4Gi"},"policies":{"resources":{"requests":{"memory":"-1"}}}}`:                  "spec.policies.resources.requests.memory",
		`{"hardware":{"cpus":2,"memory":"4Gi"},"configSpec":[1]}`:                                                       "spec.configSpec",
		`{"hardware":{"cpus":2,"memory":"4Gi"},"reservedSlots":1}`:                                                      "spec.reservedSlots: Forbidden",
	} {
		got := server.Do("POST", path+"?dryRun=All", manifest("x", spec))
		if want == "" && got.Code != http.StatusCreated || want != "" &&
			(got.Code != http.StatusUnprocessableEntity || !strings.Contains(got.Status(t).Message, want)) {
			t.Errorf("%s: %d %s, want %q", spec, got.Code, got.Body, want)
		}
	}
}

// What is raw JSON in a class can be applied as what it is.
func TestConfigSpecCanBeApplied(t *testing.T) {
	server, classes := serve(t, etcd(t))
	const config = `{"_typeName":"VirtualMachineConfigSpec","numCPUs":2}`
	for _, version := range install.Versions() {
		body := strings.ReplaceAll(manifest("x", `{"hardware":{"cpus":2,"memory":"4Gi"},"configSpec":`+config+`}`),
			"v1alpha5", version.Version)
		at := strings.ReplaceAll(path, "v1alpha5", version.Version)
		if got := server.Do("PATCH", at+"/x?fieldManager=me&force=true", body, "Content-Type",
			"application/apply-patch+yaml"); got.Code >= 300 {
			t.Fatalf("%s: %d %s", version, got.Code, got.Body)
		}
	}
	stored, err := classes.Inside().Get(t.Context(), "team-a", "x")
	if err != nil || string(stored.Spec.ConfigSpec) != config {
		t.Errorf("stored %s (%v), want %s", stored.Spec.ConfigSpec, err, config)
	}
}

// What was declared outlasts the process, and who does not lead writes nothing.
func TestClassesAreKept(t *testing.T) {
	objects := etcd(t)
	first, _ := serve(t, objects)
	if got := first.Do("POST", path, manifest("mine", small)); got.Code != http.StatusCreated {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	var standby atomic.Bool
	second, _ := serve(t, &registry.Objects{Client: objects.Client, Prefix: objects.Prefix, Leads: func() error {
		if standby.Load() {
			return fmt.Errorf("another replica leads: %w", failure.Unavailable)
		}
		return nil
	}})
	if got := second.Do("GET", path+"/mine", nil); got.Code != http.StatusOK {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	standby.Store(true)
	for _, request := range []struct{ method, path, body, contentType string }{
		{"POST", "", manifest("other", small), ""},
		{"PATCH", "/mine", `{"metadata":{"labels":{"a":"b"}}}`, "application/merge-patch+json"},
		{"DELETE", "/mine", "", ""},
	} {
		got := second.Do(request.method, path+request.path, request.body, "Content-Type", request.contentType)
		if got.Code != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
			t.Errorf("%s by a standby: %d %s", request.method, got.Code, got.Body)
		}
	}
	response, err := objects.Client.Get(t.Context(),
		"/pacific/objects/vmoperator.vmware.com/virtualmachineclasses/team-a/mine")
	if err != nil || len(response.Kvs) != 1 {
		t.Errorf("in etcd: %v, %v", response, err)
	}
}

func TestSupervisorsClasses(t *testing.T) {
	const gibibyte = 1 << 30
	got := map[string][4]int64{}
	for _, kind := range []string{"best-effort", "guaranteed"} {
		for _, size := range []string{"xsmall", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge",
			"9xlarge", ""} {
			name := kind + "-" + size
			if class, found := virtualmachineclass.Supervisor("team-a", name); found {
				requests := class.Spec.Policies.Resources.Requests
				got[name] = [4]int64{class.Spec.Hardware.Cpus, class.Spec.Hardware.Memory.Value() / gibibyte, requests.Cpu.Value(),
					requests.Memory.Value() / gibibyte}
				if diff := cmp.Diff(metav1.ObjectMeta{Namespace: "team-a", Name: name}, class.ObjectMeta); diff != "" {
					t.Error(diff)
				}
			}
		}
	}
	want := map[string][4]int64{
		"best-effort-xsmall": {2, 2, 0, 0}, "best-effort-small": {2, 4, 0, 0}, "best-effort-medium": {2, 8, 0, 0},
		"best-effort-large":  {4, 16, 0, 0},
		"best-effort-xlarge": {4, 32, 0, 0}, "best-effort-2xlarge": {8, 64, 0, 0}, "best-effort-4xlarge": {16, 128, 0, 0},
		"best-effort-8xlarge": {32, 128, 0, 0},
		"guaranteed-xsmall":   {2, 2, 2, 2}, "guaranteed-small": {2, 4, 2, 4}, "guaranteed-medium": {2, 8, 2, 8},
		"guaranteed-large":  {4, 16, 4, 16},
		"guaranteed-xlarge": {4, 32, 4, 32}, "guaranteed-2xlarge": {8, 64, 8, 64}, "guaranteed-4xlarge": {16, 128, 16, 128},
		"guaranteed-8xlarge": {32, 128, 32, 128},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("CPUs, memory and what is reserved (-want +got):\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	kind := virtualmachineclass.Kind(nil)
	guaranteed, _ := virtualmachineclass.Supervisor("team-a", "guaranteed-small")
	other := &v1alpha5.VirtualMachineClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}}
	other.Spec.Hardware.Memory = resource.MustParse("512Mi")
	table, err := kind.Printer(kindtest.Clock{At: time.Now()}).ConvertToTable(t.Context(),
		&v1alpha5.VirtualMachineClassList{Items: []v1alpha5.VirtualMachineClass{*guaranteed, *other}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got [][]any
	for _, row := range table.Rows {
		got = append(got, row.Cells)
	}
	want := [][]any{{"guaranteed-small", "2", "4Gi", "2", "4Gi", "<unknown>"},
		{"other", "0", "512Mi", "0", "0", "<unknown>"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

var errAway = errors.New("etcd is away")
