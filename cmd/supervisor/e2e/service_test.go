// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/openpacific/pacific/pkg/waittest"
)

// endpoints are what a service leads to: the addresses of its EndpointSlices by machine, of those that are ready.
func (s *supervisor) endpoints(t *testing.T, namespace, service string) (ready, not map[string]string) {
	t.Helper()
	var found discoveryv1.EndpointSliceList
	out := s.Kubectl(t, "get", "endpointslices", "-n", namespace, "-l", discoveryv1.LabelServiceName+"="+service, "-o", "json")
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ready, not = map[string]string{}, map[string]string{}
	for _, slice := range found.Items {
		for _, endpoint := range slice.Endpoints {
			if *endpoint.Conditions.Ready {
				ready[endpoint.TargetRef.Name] = endpoint.Addresses[0]
			} else {
				not[endpoint.TargetRef.Name] = endpoint.Addresses[0]
			}
		}
	}
	return ready, not
}

// TestService has a developer put two machines behind one address, as the sample has it: what becomes of the machines
// shows in where the service leads to.
func TestService(t *testing.T) {
	t.Parallel()
	s := running(t)
	namespace := s.Shop(t, "service-shop")
	const sample = "../../../artifacts/samples/service.yaml"
	s.Kubectl(t, "apply", "-n", namespace, "-f", sample)
	s.Kubectl(t, "wait", "vmservice/my-web", "-n", namespace, "--for=jsonpath={.status.loadBalancer.ingress[0].ip}", "--timeout=60s")
	s.Kubectl(t, "wait", "vm/my-web-1", "vm/my-web-2", "-n", namespace, "--for=condition=Ready", "--timeout=90s")
	addresses := map[string]string{}
	for _, name := range []string{"my-web-1", "my-web-2"} {
		addresses[name] = s.get(t, namespace, name).Status.Network.PrimaryIP4
	}
	leads := func(what string, wantReady, wantNot map[string]string) {
		t.Helper()
		waittest.Within(t, 60*time.Second, what, func(context.Context) error {
			ready, not := s.endpoints(t, namespace, "my-web")
			if !maps.Equal(ready, wantReady) || !maps.Equal(not, wantNot) {
				return fmt.Errorf("ready are %v, not ready %v; want %v and %v", ready, not, wantReady, wantNot)
			}
			return nil
		})
	}
	none, first, second := map[string]string{}, map[string]string{"my-web-1": addresses["my-web-1"]}, map[string]string{"my-web-2": addresses["my-web-2"]}
	leads("it leads to both machines", addresses, none)

	address := s.Kubectl(t, "get", "vmservice", "my-web", "-n", namespace, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
	if got, err := netip.ParseAddr(address); err != nil || !netip.MustParsePrefix("10.66.250.0/24").Contains(got) {
		t.Errorf("from outside it has the address %q", address)
	}
	core := s.Kubectl(t, "get", "service", "my-web", "-n", namespace, "-o",
		"jsonpath={.spec.type} {.spec.selector} {.status.loadBalancer.ingress[0].ip} {.metadata.ownerReferences[0].kind}")
	if want := "LoadBalancer  " + address + " VirtualMachineService"; core != want {
		t.Errorf("the core Service is %q, want %q", core, want)
	}
	if out, err := s.Try(t.Context(), "kubectl", "diff", "-n", namespace, "-f", sample); err != nil {
		t.Errorf("it differs from what was applied: %v\n%s", err, out)
	}

	s.Kubectl(t, "patch", "vm/my-web-1", "-n", namespace, "--type=merge", "-p", `{"spec":{"powerState":"PoweredOff","powerOffMode":"Hard"}}`)
	waittest.Within(t, 60*time.Second, "one is off", func(context.Context) error {
		if ready, _ := s.endpoints(t, namespace, "my-web"); !maps.Equal(ready, second) {
			return fmt.Errorf("ready are %v", ready)
		}
		return nil
	})
	s.Kubectl(t, "patch", "vm/my-web-1", "-n", namespace, "--type=merge", "-p", `{"spec":{"powerState":"PoweredOn"}}`)
	leads("it is on again", addresses, none)
	s.Kubectl(t, "label", "vm/my-web-2", "-n", namespace, "app=other", "--overwrite")
	leads("the other is selected no more", first, none)
	s.Kubectl(t, "label", "vm/my-web-2", "-n", namespace, "app=my-web", "--overwrite")
	leads("and again", addresses, none)
	s.Kubectl(t, "delete", "vm/my-web-1", "-n", namespace, "--timeout=60s")
	leads("one is gone", second, none)

	out, err := s.Try(t.Context(), "kubectl", "patch", "vmservice/my-web", "-n", namespace, "--type=merge", "-p", `{"spec":{"type":"ClusterIP"}}`)
	if err == nil || !strings.Contains(out, "spec.type") {
		t.Errorf("another type: %v\n%s", err, out)
	}
	s.Kubectl(t, "delete", "vmservice/my-web", "-n", namespace, "--timeout=60s")
	for _, left := range []string{"service/my-web", "endpointslice/my-web-ipv4-0"} {
		if out, err := s.Try(t.Context(), "kubectl", "get", left, "-n", namespace); err == nil {
			t.Errorf("%s is left: %s", left, out)
		}
	}
	s.Kubectl(t, "delete", "vm", "-n", namespace, "--all", "--timeout=60s")
}
