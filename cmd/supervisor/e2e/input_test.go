// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

// TestBadInput sends what is wrong: the answer names what is wrong and what to do, and nothing changes. What kubectl
// checks by itself is in testdata/script/refuse.txtar.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("bad-input")
	vm := a.Create(namespace, "web", supervisortest.PoweredOff)
	s.Serves(t, namespace, "web")
	before, record := s.get(t, namespace, "web"), a.Extra(vm, "pacific.metadata")
	config := s.Config(t)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	const (
		get, patch, put, post, del = http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodPost, http.MethodDelete

		merge     = string(k8stypes.MergePatchType)
		jsonPatch = string(k8stypes.JSONPatchType)
		apply     = string(k8stypes.ApplyYAMLPatchType)
		json      = "application/json"
	)
	whole := func(spec string) string {
		return `{"apiVersion":"vmoperator.vmware.com/v1alpha5","kind":"VirtualMachine","metadata":{"name":"web","namespace":"` + namespace + `"},"spec":` + spec + `}`
	}
	for _, try := range []struct {
		name, method, path, content, body string
		code                              int
		want                              string
	}{
		{"field selector", get, "?fieldSelector=spec.image%3Dx", "", "", 400,
			`field selector "spec.image" is not supported for virtual machines: use one of metadata.name`},
		{"field selector's operator", get, "?fieldSelector=status.powerState%3E1", "", "", 400, "status.powerState>1"},
		{"label selector", get, "?labelSelector=a%20in", "", "", 400, "unable to parse requirement"},
		{"continue token", get, "?limit=1&continue=nonsense", "", "", 400, "continue key is not valid"},
		{"version of a list", get, "?resourceVersion=nonsense&resourceVersionMatch=Exact", "", "", 400,
			"nvalid resource version"},
		{"match without a version", get, "?resourceVersionMatch=Exact", "", "", 422,
			"resourceVersionMatch is forbidden unless resourceVersion is provided"},
		{"limit", get, "?limit=many", "", "", 400, `strconv.ParseInt: parsing "many"`},
		{"watch of an old version", get, "?watch=1&resourceVersion=12&timeoutSeconds=5", "", "", 200, `"code":410`},
		{"no such machine", get, "/none", "", "", 404, `virtualmachines.vmoperator.vmware.com "none" not found`},
		{"no such subresource", get, "/web/snapshots", "", "", 404, "could not find the requested resource"},
		{"creation", post, "", json, whole(`{}`), 422, "spec.className: Required value"},
		{"creation by PUT", put, "/none", json, strings.Replace(whole(`{}`), `"web"`, `"none"`, 1), 404, "not found"},
		{"PUT of another name", put, "/web", json, strings.Replace(whole(`{}`), `"web"`, `"other"`, 1), 400,
			"the name of the object (other) does not match the name on the URL (web)"},
		{"PUT of another namespace", put, "/web", json, strings.Replace(whole(`{}`), namespace, "elsewhere", 1), 400,
			"the namespace of the provided object does not match the namespace sent on the request"},
		{"PUT of another kind", put, "/web", json, strings.Replace(whole(`{}`), "VirtualMachine", "Pod", 1), 400, "Pod"},
		{"PUT of a stale version", put, "/web", json, strings.Replace(whole(`{}`), `"metadata":{`,
			`"metadata":{"resourceVersion":"7",`, 1), 409, "please apply your changes to the latest version"},
		{"PUT of a bad version", put, "/web", json, strings.Replace(whole(`{}`), `"metadata":{`,
			`"metadata":{"resourceVersion":"x",`, 1), 422,
			`metadata.resourceVersion: Invalid value: "x": is not a version: give the one that was read, or leave it out`},
		{"PUT of a volume", put, "/web", json, whole(`{"volumes":[{"name":"data"}]}`), 422, "spec.volumes"},
		{"unknown field", patch, "/web?fieldValidation=Strict", merge, `{"spec":{"cpus":4}}`, 422,
			`unknown field "spec.cpus"`},
		{"unknown field of an apply", patch, "/web?fieldManager=a", apply, whole(`{"cpus":4}`), 500,
			".spec.cpus: field not declared in schema"},
		{"apply by nobody", patch, "/web", apply, whole(`{}`), 422,
			"fieldManager: Required value: is required for apply patch"},
		{"JSON patch of what is not there", patch, "/web", jsonPatch, `[{"op":"remove","path":"/metadata/labels/none"}]`, 422,
			"the server rejected our request due to an error in our request"},
		{"JSON patch that tests", patch, "/web", jsonPatch, `[{"op":"test","path":"/spec/powerState","value":"PoweredOn"}]`,
			422, "the server rejected our request due to an error in our request"},
		{"patch of no kind", patch, "/web", "text/plain", `{}`, 415, "Unsupported Media Type"},
		{"protobuf", put, "/web", "application/vnd.kubernetes.protobuf", "k8s\x00", 415, "accepted media types include"},
		{"broken JSON", patch, "/web", merge, `{"spec":`, 400, "invalid JSON patch"},
		{"power state", patch, "/web", merge, `{"spec":{"powerState":"on"}}`, 422,
			`spec.powerState: Unsupported value: "on": supported values: "PoweredOff", "PoweredOn", "Suspended"`},
		{"two fields", patch, "/web", merge, `{"spec":{"guestID":"x","powerOffMode":"y"}}`, 422,
			`[spec.guestID: Forbidden: cannot be changed through the API yet; change it in vCenter, spec.powerOffMode: ` +
				`Unsupported value: "y"`},
		{"a part of a field", patch, "/web", merge, `{"spec":{"network":{"interfaces":[{"name":"eth9"}]}}}`, 422,
			"spec.network"},
		{"label", patch, "/web", merge, `{"metadata":{"labels":{"-a-":"x"}}}`, 422, `metadata.labels: Invalid value: "-a-"`},
		{"owner without a name", patch, "/web", merge,
			`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","uid":"1"}]}}`, 422,
			"metadata.ownerReferences[0].name"},
		{"annotations that fit into no machine", patch, "/web", merge,
			`{"metadata":{"annotations":{"a":"` + strings.Repeat("x", 300<<10) + `"}}}`, 422, "metadata.annotations: Too long"},
		{"uid", patch, "/web", merge, `{"metadata":{"uid":"5d2c0a9e-0000-4000-8000-000000000000"}}`, 422,
			"metadata.uid: Invalid value"},
		{"status", patch, "/web/status", merge, `{"status":{"powerState":"PoweredOn"}}`, 405,
			"what vCenter reports and cannot be written"},
		{"PUT of status", put, "/web/status", json, whole(`{}`), 405, "what vCenter reports and cannot be written"},
		{"deletion", del, "/web", "", "", 403, reclaimPolicy + "=Delete"},
		{"deletion of another", del, "/web", json,
			`{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"another"}}`, 409, "UID"},
		{"deletion of an old version", del, "/web", json,
			`{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"resourceVersion":"7"}}`, 409, "ResourceVersion"},
		{"deletion by a selector of nonsense", del, "?labelSelector=%21%21", "", "", 400, "unable to parse"},
	} {
		url := config.Host + "/apis/vmoperator.vmware.com/v1alpha5/namespaces/" + namespace + "/virtualmachines" + try.path
		request, err := http.NewRequestWithContext(t.Context(), try.method, url, strings.NewReader(try.body))
		if err != nil {
			t.Fatal(err)
		}
		if try.content != "" {
			request.Header.Set("Content-Type", try.content)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatalf("%s: %v", try.name, err)
		}
		data, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		body := strings.NewReplacer(`\"`, `"`, `\u003e`, ">").Replace(string(data))
		if response.StatusCode != try.code || !strings.Contains(body, try.want) {
			t.Errorf("%s: got %d %.500s\nwant %d with %s", try.name, response.StatusCode, body, try.code, try.want)
		}
	}
	if diff := cmp.Diff(before, s.get(t, namespace, "web")); diff != "" {
		t.Errorf("all that changed the machine (-before +after):\n%s", diff)
	}
	if got := a.Extra(vm, "pacific.metadata"); got != record {
		t.Errorf("all that wrote to vCenter: %q", got)
	}
	s.Serves(t, namespace, "web")
}
