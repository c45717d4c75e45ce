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
		{Name: "availabilityzones", SingularName: "availabilityzone", Kind: "AvailabilityZone",
			Verbs: metav1.Verbs{"get", "list", "watch"}, ShortNames: []string{"az"}},
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
