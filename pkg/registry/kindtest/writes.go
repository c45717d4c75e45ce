// SPDX-License-Identifier: Apache-2.0

package kindtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// verbs are what discovery says can be done.
func (c *checked[T, L]) verbs() []string {
	c.Helper()
	resources := Decode[metav1.APIResourceList](c, c.server.Do("GET", "/apis/"+c.kind.Versions[0].String(), nil))
	for _, resource := range resources.APIResources {
		if resource.Name == c.kind.Resource {
			if resource.SingularName != c.kind.Singular || resource.Namespaced != c.kind.Namespaced ||
				!slices.Equal(resource.ShortNames, c.kind.ShortNames) {
				c.Errorf("discovered as %+v", resource)
			}
			return resource.Verbs
		}
	}
	c.Fatalf("%s is not discovered among %+v", c.kind.Resource, resources.APIResources)
	return nil
}

// readOnly is a kind without rules: no other verb is offered.
func (c *checked[T, L]) readOnly() {
	want := []string{"get", "list", "watch"}
	if c.kind.Rules != nil {
		want = append(want, "create", "delete", "patch", "update")
		if c.kind.Namespaced {
			want = append(want, "deletecollection")
		}
	}
	got := c.verbs()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		c.Errorf("verbs (-want +got):\n%s", diff)
	}
	if c.kind.Status == nil {
		return
	}
	c.fill("one")
	status := c.path(c.namespaces()[0], "one") + "/status"
	if got := c.server.Do("PATCH", status, `{"status":{}}`, "Content-Type",
		mergePatch); got.Code != http.StatusMethodNotAllowed || got.Status(c).Message != c.kind.Status.Error() {
		c.Errorf("a patch of the status: %d %s", got.Code, got.Body)
	}
}

// get is an object as a client reads it.
func (c *checked[T, L]) get(namespace, name string) map[string]any {
	c.Helper()
	got := c.server.Do("GET", c.path(namespace, name), nil)
	if got.Code != http.StatusOK {
		c.Fatalf("get %s: %d %s", name, got.Code, got.Body)
	}
	return Decode[map[string]any](c, got)
}

// labelled is an object with another label.
func labelled(object map[string]any, value string) map[string]any {
	raw, _ := json.Marshal(object)
	var other map[string]any
	_ = json.Unmarshal(raw, &other)
	labels, _ := metadata(other)["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
	}
	labels["written"] = value
	metadata(other)["labels"] = labels
	return other
}

// dryRun does everything as a dry run: it is answered as if it were done, and nothing is.
func (c *checked[T, L]) dryRun() {
	if c.kind.Rules == nil {
		c.Skip("nobody writes")
	}
	c.fill("one", "two")
	namespace := c.namespaces()[0]
	before := c.list(c.path("", ""))
	one := c.path(namespace, "one")
	for _, request := range []struct {
		method, path, contentType string
		body                      any
	}{
		{"PUT", one, "application/json", labelled(c.get(namespace, "one"), "dry")},
		{"PATCH", one, mergePatch, `{"metadata":{"labels":{"written":"dry"}}}`},
		{"PATCH", one, "application/json-patch+json", `[{"op":"add","path":"/metadata/labels","value":{"written":"dry"}}]`},
		{"DELETE", one, "", nil},
	} {
		got := c.server.Do(request.method, request.path+"?dryRun=All", request.body, "Content-Type", request.contentType)
		if got.Code != http.StatusOK {
			c.Errorf("%s %s: %d %s", request.method, request.contentType, got.Code, got.Body)
		}
		if object := Decode[map[string]any](c, got); request.body != nil &&
			fmt.Sprint(metadata(object)["labels"]) == fmt.Sprint(metadata(c.get(namespace, "one"))["labels"]) {
			c.Errorf("%s %s is not answered as if it were done: %s", request.method, request.contentType, got.Body)
		}
	}
	if c.Creates {
		object := c.client(c.Object(namespace, "three"))
		if got := c.server.Do("POST", c.path(namespace, "")+"?dryRun=All", object); got.Code != http.StatusCreated {
			c.Errorf("create: %d %s", got.Code, got.Body)
		}
	}
	if diff := cmp.Diff(before, c.list(c.path("", ""))); diff != "" {
		c.Errorf("after dry runs (-before +after):\n%s", diff)
	}
}

// client is an object as a client would send it to create it.
func (c *checked[T, L]) client(object *T) map[string]any {
	c.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		c.Fatal(err)
	}
	var sent map[string]any
	if err := json.Unmarshal(raw, &sent); err != nil {
		c.Fatal(err)
	}
	sent["apiVersion"] = c.kind.Versions[0].String()
	if sent["kind"] == nil {
		sent["kind"] = kindName[T]()
	}
	for _, given := range []string{"uid", "creationTimestamp", "generation", "resourceVersion", "finalizers",
		"managedFields"} {
		delete(metadata(sent), given)
	}
	delete(sent, "status")
	return sent
}

// stale updates an object at a version that it has no longer.
func (c *checked[T, L]) stale() {
	if c.kind.Rules == nil {
		c.Skip("nobody writes")
	}
	c.fill("one")
	namespace := c.namespaces()[0]
	old := c.get(namespace, "one")
	path := c.path(namespace, "one")
	if got := c.server.Do("PUT", path, labelled(old, "first"), "Content-Type",
		"application/json"); got.Code != http.StatusOK {
		c.Fatalf("the first update: %d %s", got.Code, got.Body)
	}
	if got := c.server.Do("PUT", path, labelled(old, "second"), "Content-Type",
		"application/json"); got.Code != http.StatusConflict {
		c.Errorf("an update of what was read before: %d %s, want 409", got.Code, got.Body)
	}
	patch := fmt.Sprintf(`{"metadata":{"resourceVersion":%q,"labels":{"written":"third"}}}`,
		metadata(old)["resourceVersion"])
	if got := c.server.Do("PATCH", path, patch, "Content-Type", mergePatch); got.Code != http.StatusConflict {
		c.Errorf("a patch of what was read before: %d %s, want 409", got.Code, got.Body)
	}
	if labels := metadata(c.get(namespace, "one"))["labels"].(map[string]any); labels["written"] != "first" {
		c.Errorf("it was written all the same: %v", labels)
	}
	wrong := labelled(c.get(namespace, "one"), "fourth")
	metadata(wrong)["resourceVersion"] = "nonsense"
	if got := c.server.Do("PUT", path, wrong, "Content-Type",
		"application/json"); got.Code != http.StatusUnprocessableEntity {
		c.Errorf("an update of a version that is none: %d %s, want 422", got.Code, got.Body)
	}
	missing := labelled(c.get(namespace, "one"), "fifth")
	delete(metadata(missing), "resourceVersion")
	delete(metadata(missing), "uid")
	metadata(missing)["name"] = "missing"
	if got := c.server.Do("PUT", c.path(namespace, "missing"), missing, "Content-Type",
		"application/json"); got.Code != http.StatusNotFound {
		c.Errorf("an update of what is not there: %d %s, want 404", got.Code, got.Body)
	}
}

// notTheirs writes what the server alone says: status, generation and the kind's finalizer stay as they are.
func (c *checked[T, L]) notTheirs() {
	if c.kind.Rules == nil {
		c.Skip("nobody writes")
	}
	namespace := c.namespaces()[0]
	object := c.Object(namespace, "one")
	if c.kind.Finalizer != "" {
		any(object).(metav1.Object).SetFinalizers([]string{c.kind.Finalizer})
	}
	c.put(object)
	before := c.get(namespace, "one")
	want := map[string]any{"status": before["status"], "generation": metadata(before)["generation"],
		"finalizers": metadata(before)["finalizers"]}

	sent := labelled(before, "theirs")
	sent["status"] = map[string]any{"conditions": []any{map[string]any{
		"type": "Ready", "status": "Unknown", "reason": "Theirs", "message": "", "lastTransitionTime": "2001-02-03T04:05:06Z",
	}}}
	metadata(sent)["generation"] = 77
	delete(metadata(sent), "finalizers")
	if got := c.server.Do("PUT", c.path(namespace, "one"), sent, "Content-Type",
		"application/json"); got.Code != http.StatusOK {
		c.Fatalf("update: %d %s", got.Code, got.Body)
	}
	after := c.get(namespace, "one")
	got := map[string]any{"status": after["status"], "generation": metadata(after)["generation"],
		"finalizers": metadata(after)["finalizers"]}
	if diff := cmp.Diff(want, got); diff != "" {
		c.Errorf("a client wrote what is not its own (-before +after):\n%s", diff)
	}
	if labels, _ := metadata(after)["labels"].(map[string]any); labels["written"] != "theirs" {
		c.Errorf("what is its own was not written: %v", labels)
	}
}

// double creates an object twice.
func (c *checked[T, L]) double() {
	if !c.Creates {
		c.Skip("nobody creates")
	}
	namespace := c.namespaces()[0]
	object := c.client(c.Object(namespace, "one"))
	for _, want := range []int{http.StatusCreated, http.StatusConflict} {
		got := c.server.Do("POST", c.path(namespace, ""), object)
		if got.Code != want || want == http.StatusConflict && got.Status(c).Reason != metav1.StatusReasonAlreadyExists {
			c.Fatalf("create: %d %s, want %d", got.Code, got.Body, want)
		}
	}
	if items := c.list(c.path("", "")).Items; len(items) != 1 {
		c.Errorf("there are %v", keysOf(items))
	}
}

// deletion with a uid is of that object alone.
func (c *checked[T, L]) deletion() {
	if c.kind.Rules == nil {
		c.Skip("nobody writes")
	}
	c.fill("one")
	namespace := c.namespaces()[0]
	if got := c.server.Do("DELETE", c.path(namespace, "one"), `{"preconditions":{"uid":"another"}}`, "Content-Type",
		"application/json"); got.Code != http.StatusConflict {
		c.Errorf("a deletion of another: %d %s, want 409", got.Code, got.Body)
	}
	if metadata(c.get(namespace, "one"))["deletionTimestamp"] != nil {
		c.Error("it is being deleted all the same")
	}
	if got := c.server.Do("DELETE", c.path(namespace, "missing"), nil); got.Code != http.StatusNotFound {
		c.Errorf("a deletion of what is not there: %d %s, want 404", got.Code, got.Body)
	}
}
