// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"testing"

	"k8s.io/client-go/kubernetes"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

// suite is what the tests of this package share. TestMain sets it up before any of them runs.
var suite supervisortest.Suite

func TestMain(m *testing.M) { suite.Main(m) }

// get returns what the aggregator answers to a GET for JSON.
func get(t *testing.T, path string) []byte {
	t.Helper()
	client, err := kubernetes.NewForConfig(suite.Running(t).Config(t))
	if err != nil {
		t.Fatal(err)
	}
	data, err := client.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept",
		"application/json").DoRaw(t.Context())
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return data
}

// kubectl types `kubectl …` and returns what it prints to both of its outputs.
func kubectl(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	return suite.Running(t).Try(t.Context(), append([]string{"kubectl"}, arguments...)...)
}
