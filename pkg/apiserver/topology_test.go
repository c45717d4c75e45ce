// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/openpacific/pacific/pkg/livestore"
)

// TestZonesAsDiscovered holds the resources to what clients are told of them.
// Kubernetes' controllers go by the verbs: with delete among them, a Namespace
// would wait for its Zones to go.
func TestZonesAsDiscovered(t *testing.T) {
	handler, err := Documentation("unversioned")
	if err != nil {
		t.Fatal(err)
	}
	get := func(path, accept string) *httptest.ResponseRecorder {
		request := httptest.NewRequest(http.MethodGet, "/apis/topology.tanzu.vmware.com/v1alpha1"+path, nil)
		request.Header.Set("Accept", accept)
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, request)
		return response
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(get("", runtime.ContentTypeJSON).Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	for i := range list.APIResources {
		list.APIResources[i].StorageVersionHash = ""
	}
	want := []metav1.APIResource{
		{Name: "availabilityzones", SingularName: "availabilityzone", Kind: "AvailabilityZone", Verbs: metav1.Verbs{"get", "list", "watch"}, ShortNames: []string{"az"}},
		{Name: "zones", SingularName: "zone", Kind: "Zone", Namespaced: true, Verbs: metav1.Verbs{"get", "list", "watch"}},
	}
	if diff := cmp.Diff(want, list.APIResources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/availabilityzones", "/namespaces/team-a/zones"} {
		if response := get(path, runtime.ContentTypeProtobuf); response.Code != http.StatusNotAcceptable {
			t.Errorf("%s as protobuf: %d %s", path, response.Code, response.Body)
		}
	}
	// Nobody is logged in.
	if response := get("/availabilityzones", runtime.ContentTypeJSON); response.Code != http.StatusForbidden {
		t.Errorf("availability zones for nobody: %d %s", response.Code, response.Body)
	}
}

// told notes what a mirror is told.
type told struct {
	replaced []map[string]runtime.Object
	applied  [][]livestore.Change
}

func (t *told) Replace(objects map[string]runtime.Object) { t.replaced = append(t.replaced, objects) }

func (t *told) Apply(changes []livestore.Change) { t.applied = append(t.applied, changes) }

func TestMirrorsAreAllTold(t *testing.T) {
	first, second := &told{}, &told{}
	both := mirrors{first, second}
	both.Replace(map[string]runtime.Object{"/namespaces/team-a": nil})
	both.Apply([]livestore.Change{{Key: "/namespaces/team-b"}})
	want := told{
		replaced: []map[string]runtime.Object{{"/namespaces/team-a": nil}},
		applied:  [][]livestore.Change{{{Key: "/namespaces/team-b"}}},
	}
	for _, got := range []*told{first, second} {
		if diff := cmp.Diff(want, *got, cmp.AllowUnexported(told{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
