// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/cmd/supervisor/clients/generated"
)

// powerDeadline is how long a machine may take to be powered off.
const powerDeadline = 30 * time.Second

func newGenerated(t *testing.T) *generated.ClientWithResponses {
	t.Helper()
	config := suite.Running(t).Config(t)
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := generated.NewClientWithResponses(config.Host, generated.WithHTTPClient(transport))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// withoutNulls takes out what Go clients omit.
func withoutNulls(value any) any {
	switch value := value.(type) {
	case object:
		for key, field := range value {
			if field == nil {
				delete(value, key)
				continue
			}
			value[key] = withoutNulls(field)
		}
	case []any:
		for i := range value {
			value[i] = withoutNulls(value[i])
		}
	}
	return value
}

// TestGeneratedClientLists lists everything, and holds the list encoded anew
// equal to what came: the document tells every field, with its type.
func TestGeneratedClientLists(t *testing.T) {
	response, err := newGenerated(t).ListVmoperatorVmwareComV1alpha5VirtualMachineForAllNamespacesWithResponse(t.Context(),
		nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.JSON200 == nil {
		t.Fatalf("%s\n%s", response.Status(), response.Body)
	}
	if len(response.JSON200.Items) != 9 {
		t.Errorf("%d machines are listed, want the 9 in the namespaces of the simulated vCenter", len(response.JSON200.Items))
	}
	again, err := json.Marshal(response.JSON200)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(withoutNulls(decode(t, response.Body)), withoutNulls(decode(t, again))); diff != "" {
		t.Errorf("the list (-served +encoded by the generated client):\n%s", diff)
	}
}

func TestGeneratedClientListsPages(t *testing.T) {
	client := newGenerated(t)
	limit := 4
	params := &generated.ListVmoperatorVmwareComV1alpha5NamespacedVirtualMachineParams{Limit: &limit}
	var sizes []int
	for {
		response, err := client.ListVmoperatorVmwareComV1alpha5NamespacedVirtualMachineWithResponse(t.Context(), "team-a",
			params)
		if err != nil {
			t.Fatal(err)
		}
		if response.JSON200 == nil {
			t.Fatalf("%s\n%s", response.Status(), response.Body)
		}
		sizes = append(sizes, len(response.JSON200.Items))
		params.Continue = response.JSON200.Metadata.Continue
		if params.Continue == nil || *params.Continue == "" {
			break
		}
	}
	if diff := cmp.Diff([]int{4, 2}, sizes); diff != "" {
		t.Errorf("sizes of the pages (-want +got):\n%s", diff)
	}
}

func TestGeneratedClientGets(t *testing.T) {
	client := newGenerated(t)
	response, err := client.ReadVmoperatorVmwareComV1alpha5NamespacedVirtualMachineWithResponse(t.Context(), "team-a",
		"web-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.JSON200 == nil {
		t.Fatalf("%s\n%s", response.Status(), response.Body)
	}
	status := response.JSON200.Status
	if status == nil || status.PowerState == nil || *status.PowerState != "PoweredOn" || status.NodeName == nil ||
		*status.NodeName == "" {
		t.Errorf("web-1 is not powered on on a node: %s", response.Body)
	}

	missing, err := client.ReadVmoperatorVmwareComV1alpha5NamespacedVirtualMachineWithResponse(t.Context(), "team-a",
		"no-such", nil)
	if err != nil {
		t.Fatal(err)
	}
	if missing.StatusCode() != http.StatusNotFound || missing.JSON200 != nil {
		t.Errorf("a missing machine: %s\n%s", missing.Status(), missing.Body)
	}
}

// TestGeneratedClientPatches changes a label with each type of patch, and then
// powers a machine off.
func TestGeneratedClientPatches(t *testing.T) {
	const namespace, name = "team-b", "cache-1"
	client := newGenerated(t)
	manager, force := "generated-client", true
	tests := []struct {
		contentType, body string
		force             *bool
	}{
		{contentType: "application/merge-patch+json", body: `{"metadata":{"labels":{"patched":"merge-patch"}}}`},
		{contentType: "application/strategic-merge-patch+json",
			body: `{"metadata":{"labels":{"patched":"strategic-merge-patch"}}}`},
		{contentType: "application/json-patch+json",
			body: `[{"op":"replace","path":"/metadata/labels/patched","value":"json-patch"}]`},
		{
			contentType: "application/apply-patch+yaml",
			body: `{"apiVersion":"vmoperator.vmware.com/v1alpha5","kind":"VirtualMachine","metadata":{"name":"cache-1","namespace":"team-b",` +
				`"labels":{"patched":"apply-patch"}}}`,
			force: &force,
		},
	}
	for _, test := range tests {
		params := &generated.PatchVmoperatorVmwareComV1alpha5NamespacedVirtualMachineParams{FieldManager: &manager,
			Force: test.force}
		response, err := client.PatchVmoperatorVmwareComV1alpha5NamespacedVirtualMachineWithBodyWithResponse(
			t.Context(), namespace, name, params, test.contentType, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		if response.JSON200 == nil {
			t.Errorf("%s: %s\n%s", test.contentType, response.Status(), response.Body)
			continue
		}
		want, _, _ := strings.Cut(strings.TrimPrefix(test.contentType, "application/"), "+")
		labels := response.JSON200.Metadata.Labels
		if labels == nil || (*labels)["patched"] != want {
			t.Errorf("%s: the labels are %v, want patched=%s", test.contentType, labels, want)
		}
	}

	off := generated.PatchVmoperatorVmwareComV1alpha5NamespacedVirtualMachineApplicationMergePatchPlusJSONRequestBody{
		"spec": object{"powerState": "PoweredOff", "powerOffMode": "Hard"},
	}
	response, err := client.PatchVmoperatorVmwareComV1alpha5NamespacedVirtualMachineWithApplicationMergePatchPlusJSONBodyWithResponse(
		t.Context(), namespace, name, nil, off)
	if err != nil {
		t.Fatal(err)
	}
	if response.JSON200 == nil {
		t.Fatalf("%s\n%s", response.Status(), response.Body)
	}
	var last []byte
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, powerDeadline, true,
		func(ctx context.Context) (bool, error) {
			read, err := client.ReadVmoperatorVmwareComV1alpha5NamespacedVirtualMachineWithResponse(ctx, namespace, name, nil)
			if err != nil {
				return false, err
			}
			last = read.Body
			return read.JSON200 != nil && read.JSON200.Status != nil && read.JSON200.Status.PowerState != nil &&
				*read.JSON200.Status.PowerState == "PoweredOff", nil
		})
	if err != nil {
		t.Fatalf("%s is not powered off: %v\n%s", name, err, last)
	}
}

// TestGeneratedClientIsToldWhatIsWrong asks for a class that is not given.
func TestGeneratedClientIsToldWhatIsWrong(t *testing.T) {
	body := generated.PatchVmoperatorVmwareComV1alpha5NamespacedVirtualMachineApplicationMergePatchPlusJSONRequestBody{
		"spec": object{"className": "huge"},
	}
	response, err := newGenerated(t).PatchVmoperatorVmwareComV1alpha5NamespacedVirtualMachineWithApplicationMergePatchPlusJSONBodyWithResponse(
		t.Context(), "team-a", "web-1", nil, body)
	if err != nil {
		t.Fatal(err)
	}
	var status generated.IoK8sApimachineryPkgApisMetaV1Status
	if err := json.Unmarshal(response.Body, &status); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode() != http.StatusForbidden || status.Message == nil ||
		!strings.Contains(*status.Message, "spec.className") {
		t.Errorf("a change of the class: %s\n%s", response.Status(), response.Body)
	}
}
