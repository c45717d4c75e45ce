// SPDX-License-Identifier: Apache-2.0

package supervisortest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/pkg/waittest"
)

// PatchOnce sends one label patch and does not repeat it, whatever the answer.
func (s *Supervisor) PatchOnce(t *testing.T, namespace, name, label, value string) (*http.Response, string) {
	t.Helper()
	config := s.Config(t)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	body := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, label, value)
	url := fmt.Sprintf("%s/apis/vmoperator.vmware.com/v1alpha5/namespaces/%s/virtualmachines/%s", config.Host, namespace,
		name)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", string(types.MergePatchType))
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(answer)
}

// Machines is the resource of virtual machines, in its newest version.
var Machines = vmopv1.GroupVersion.WithResource("virtualmachines")

// Dynamic is the administrator's client.
func (s *Supervisor) Dynamic(t *testing.T) dynamic.Interface {
	t.Helper()
	return dynamic.NewForConfigOrDie(s.Config(t))
}

// Version is an object's resourceVersion as a number.
func Version(t *testing.T, object metav1.Common) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatalf("resourceVersion: %v", err)
	}
	return n
}

// Names are those of the machines that are served in a namespace.
func (s *Supervisor) Names(t *testing.T, namespace string) []string {
	t.Helper()
	names, err := s.names(t, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func (s *Supervisor) names(t *testing.T, namespace string) (names []string, err error) {
	list, err := s.Dynamic(t).Resource(Machines).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, item := range list.Items {
		names = append(names, item.GetName())
	}
	return names, nil
}

// Serves waits until exactly these machines are served in a namespace.
func (s *Supervisor) Serves(t *testing.T, namespace string, want ...string) {
	t.Helper()
	waittest.Within(t, 30*time.Second, "machines in "+namespace, func(context.Context) error {
		names, err := s.names(t, namespace)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, names); diff != "" {
			return fmt.Errorf("machines in %s (-want +got):\n%s", namespace, diff)
		}
		return nil
	})
}

// ResourceVersion is that of a consistent list of all machines.
func (s *Supervisor) ResourceVersion(t *testing.T) uint64 {
	t.Helper()
	list, err := s.Dynamic(t).Resource(Machines).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return Version(t, list)
}

// RoundTripper looks at a client's requests.
type RoundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f RoundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
