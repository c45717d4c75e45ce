// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/registry"
)

// What a patch asks for is told by its body alone.
func TestAsked(t *testing.T) {
	const merge, strategic, operations = "application/merge-patch+json", "application/strategic-merge-patch+json",
		"application/json-patch+json"
	for name, test := range map[string]struct {
		method, contentType, body, applied string
		want                               string // managedFields of the manager
	}{
		"a value":              {"PATCH", merge, `{"spec":{"a":1}}`, "", `{"f:spec":{"f:a":{}}}`},
		"with a character set": {"PATCH", merge + "; charset=utf-8", `{"spec":{"a":1}}`, "", `{"f:spec":{"f:a":{}}}`},
		"values below values": {"PATCH", merge, `{"spec":{"a":{"b":"x","c":{"d":false}}}}`, "",
			`{"f:spec":{"f:a":{"f:b":{},"f:c":{"f:d":{}}}}}`},
		"lists and empty values": {"PATCH", merge, `{"spec":{"a":[{"b":1}],"c":{},"d":""}}`, "",
			`{"f:spec":{"f:a":{},"f:c":{},"f:d":{}}}`},
		"null asks for nothing": {"PATCH", merge, `{"spec":{"a":null,"b":{"c":null}}}`, "", ""},
		"no spec":               {"PATCH", merge, `{"metadata":{"labels":{"a":"b"}},"status":{"a":1}}`, "", ""},
		"another case":          {"PATCH", merge, `{"Spec":{"a":1}}`, "", ""},
		"directives": {"PATCH", strategic,
			`{"spec":{"$setElementOrder/a":["x"],"a":[{"name":"x"}],"b":{"$patch":"delete"}}}`, "", `{"f:spec":{"f:a":{}}}`},
		"operations": {"PATCH", operations,
			`[{"op":"add","path":"/spec/a","value":1},{"op":"replace","path":"/spec/b/c","value":2}]`, "",
			`{"f:spec":{"f:a":{},"f:b":{"f:c":{}}}}`},
		"tests": {"PATCH", operations, `[{"op":"test","path":"/spec/a","value":1}]`, "", ""},
		"elements of lists": {"PATCH", operations,
			`[{"op":"replace","path":"/spec/a/0/b","value":1},{"op":"add","path":"/spec/c/-","value":1}]`, "",
			`{"f:spec":{"f:a":{},"f:c":{}}}`},
		"added and removed": {"PATCH", operations,
			`[{"op":"add","path":"/spec/a/b","value":1},{"op":"remove","path":"/spec/a"}]`, "", ""},
		"moved and copied": {"PATCH", operations,
			`[{"op":"add","path":"/spec/a","value":1},{"op":"move","from":"/spec/a","path":"/spec/b"},{"op":"copy","from":"/metadata/name","path":"/spec/c"}]`, "", `{"f:spec":{"f:b":{},"f:c":{}}}`},
		"the whole spec": {"PATCH", operations, `[{"op":"replace","path":"/spec","value":{"a":1,"b":{"c":2}}}]`,
			"", `{"f:spec":{"f:a":{},"f:b":{"f:c":{}}}}`},
		"the whole object": {"PATCH", operations, `[{"op":"replace","path":"","value":{"spec":{"a":1}}}]`, "",
			`{"f:spec":{"f:a":{}}}`},
		"escapes": {"PATCH", operations, `[{"op":"add","path":"/spec/a~1b~0c","value":1}]`, "",
			`{"f:spec":{"f:a/b~c":{}}}`},
		"metadata": {"PATCH", operations, `[{"op":"add","path":"/metadata/labels/spec","value":"x"}]`, "",
			""},
		"server-side apply": {"PATCH", "application/apply-patch+yaml", `{"spec":{"a":1}}`, "", ""},
		"PUT":               {"PUT", "application/json", `{"spec":{"a":1}}`, "", ""},
		"client-side apply": {"PATCH", merge, `{}`, `{"apiVersion":"example.com/v2","spec":{"a":1,"b":null}}`,
			`{"f:spec":{"f:a":{}}}`},
		"client-side apply, foreign":  {"PATCH", merge, `{}`, `{"apiVersion":"apps/v1","spec":{"a":1}}`, ""},
		"client-side apply, unparsed": {"PATCH", merge, `{}`, `{"apiVersion":`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			for _, entry := range update(t, test.method, test.contentType, test.body, test.applied, nil).GetManagedFields() {
				got[entry.Manager+" "+string(entry.Operation)+" "+entry.APIVersion] = entry.FieldsV1.GetRawString()
			}
			want := map[string]string{}
			switch {
			case test.want != "" && test.applied != "":
				want["kubectl Update example.com/v2"] = test.want
			case test.want != "":
				want["kubectl Update example.com/v1"] = test.want
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("managedFields (-want +got):\n%s", diff)
			}
		})
	}
}

// What somebody owns already stays as it is, to the second, and what others own stays theirs.
func TestAskedAgain(t *testing.T) {
	then := metav1.NewTime(now.Add(-time.Hour))
	entry := func(manager string, operation metav1.ManagedFieldsOperationType, fields string,
		at *metav1.Time) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{
			Manager: manager, Operation: operation, APIVersion: "example.com/v1", Time: at, FieldsType: "FieldsV1",
			FieldsV1: metav1.NewFieldsV1(fields),
		}
	}
	mine, theirs := entry("kubectl", "Update", `{"f:spec":{"f:a":{}}}`, &then),
		entry("argo", "Apply", `{"f:spec":{"f:b":{}}}`, &then)
	before := []metav1.ManagedFieldsEntry{theirs, mine}
	at := metav1.NewTime(now)
	for name, test := range map[string]struct {
		body string
		want []metav1.ManagedFieldsEntry
	}{
		"the same": {`{"spec":{"a":1}}`, before},
		"more": {`{"spec":{"c":1}}`, []metav1.ManagedFieldsEntry{theirs,
			entry("kubectl", "Update", `{"f:spec":{"f:a":{},"f:c":{}}}`, &at)}},
		"what is theirs": {`{"spec":{"b":1}}`, []metav1.ManagedFieldsEntry{theirs,
			entry("kubectl", "Update", `{"f:spec":{"f:a":{},"f:b":{}}}`, &at)}},
	} {
		got := update(t, "PATCH", "application/merge-patch+json", test.body, "", before).GetManagedFields()
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// update passes a request through the filter and its object through Asked.
func update(t *testing.T, method, contentType, body, applied string,
	managed []metav1.ManagedFieldsEntry) metav1.Object {
	t.Helper()
	old := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: "u", ManagedFields: managed}}
	var result runtime.Object
	var failed error
	handler := registry.NoteUpdates(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		info := rest.DefaultUpdatedObjectInfo(nil, func(context.Context, runtime.Object,
			runtime.Object) (runtime.Object, error) {
			changed := old.DeepCopy()
			if applied != "" {
				changed.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: applied}
			}
			return changed, nil
		})
		asked := registry.Asked{UpdatedObjectInfo: info, Group: "example.com", Clock: testingclock.NewFakePassiveClock(now)}
		result, failed = asked.UpdatedObject(r.Context(), old)
	}))
	request := httptest.NewRequestWithContext(t.Context(), method, "/", strings.NewReader(body))
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("User-Agent", "kubectl/v1.37.2 (linux/amd64)")
	verb := map[string]string{"PATCH": "patch", "PUT": "update"}[method]
	info := &genericapirequest.RequestInfo{IsResourceRequest: true, Verb: verb, APIGroup: "example.com", APIVersion: "v1",
		Resource: "things"}
	handler.ServeHTTP(httptest.NewRecorder(), request.WithContext(
		genericapirequest.WithRequestInfo(request.Context(), info)))
	if failed != nil {
		t.Fatal(failed)
	}
	return result.(*corev1.ConfigMap)
}
