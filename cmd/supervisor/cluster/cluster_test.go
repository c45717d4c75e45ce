// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/pkg/waittest"
)

// TestWaitsEndWithTheirContext: an aggregator that takes a request and never answers keeps nobody from stopping.
func TestWaitsEndWithTheirContext(t *testing.T) {
	asked := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	documents, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{Documents: documents}
	apiService := &unstructured.Unstructured{}
	apiService.SetName("v1alpha1.vsphere.openpacific.io")
	for name, wait := range map[string]func(context.Context, []*unstructured.Unstructured) error{
		"documented": c.WaitDocumented, "answered": c.WaitAnswered,
	} {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- wait(ctx, []*unstructured.Unstructured{apiService}) }()
		<-asked
		stop()
		waittest.Within(t, 5*time.Second, name+": it ends", func(context.Context) error {
			select {
			case err := <-ended:
				if err == nil {
					t.Errorf("%s: nobody has answered", name)
				}
				return nil
			default:
				return context.DeadlineExceeded
			}
		})
	}
}
