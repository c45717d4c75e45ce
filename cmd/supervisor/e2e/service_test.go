// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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

// openService leads to the machines of the sample on ports that anybody may listen on, of which one is probed.
const openService = `{"apiVersion":"vmoperator.vmware.com/v1alpha5","kind":"VirtualMachineService","metadata":{"name":"open"},
	"spec":{"type":"LoadBalancer","selector":{"app":"my-web"},
	"ports":[{"name":"web","protocol":"TCP","port":18080,"targetPort":18081}]}}`

// occupy has nobody listen on a port of a simulated guest, and nobody answer there.
func (s *supervisor) occupy(t *testing.T, address string, port int) (release func()) {
	t.Helper()
	guest, err := netip.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := s.Guests.Of(guest)
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Port: port, Addr: at.As4()})
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = syscall.Close(socket) }
}

// TestLoadBalancer connects to the address of a service as a user does: guests answer that are ready, and no others.
func TestLoadBalancer(t *testing.T) {
	t.Parallel()
	s := running(t)
	if err := s.Guests.Lacking(); errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skipf("this system has 127.0.0.1 alone: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	namespace := s.Shop(t, "balanced-shop")
	s.Kubectl(t, "apply", "-n", namespace, "-f", "../../../artifacts/samples/service.yaml")
	file := filepath.Join(t.TempDir(), "open.json")
	if err := os.WriteFile(file, []byte(openService), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "apply", "-n", namespace, "-f", file)
	s.Kubectl(t, "patch", "vm/my-web-1", "-n", namespace, "--type=merge", "-p",
		`{"spec":{"readinessProbe":{"tcpSocket":{"port":18082},"periodSeconds":1}}}`)
	s.Kubectl(t, "wait", "vmservice/open", "-n", namespace, "--for=jsonpath={.status.loadBalancer.ingress[0].ip}",
		"--timeout=60s")
	s.Kubectl(t, "wait", "vm/my-web-1", "vm/my-web-2", "-n", namespace, "--for=condition=Ready", "--timeout=90s")
	address := s.Kubectl(t, "get", "vmservice", "open", "-n", namespace, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")

	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer := func() string {
		response, err := client.Get("http://" + net.JoinHostPort(address, "18080") + "/")
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(string(body))
	}
	answers := func(what string, want ...string) {
		t.Helper()
		waittest.Within(t, 60*time.Second, what, func(context.Context) error {
			got := map[string]bool{}
			for range 10 {
				got[strings.TrimSuffix(answer(), " on port 18081")] = true
			}
			if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
				return fmt.Errorf("answers are of %q, want %q", names, want)
			}
			return nil
		})
	}
	answers("both answer", "my-web-1", "my-web-2")
	s.Kubectl(t, "patch", "vm/my-web-1", "-n", namespace, "--type=merge", "-p",
		`{"spec":{"powerState":"PoweredOff","powerOffMode":"Hard"}}`)
	answers("one is off", "my-web-2")
	s.Kubectl(t, "patch", "vm/my-web-1", "-n", namespace, "--type=merge", "-p", `{"spec":{"powerState":"PoweredOn"}}`)
	answers("it is on again", "my-web-1", "my-web-2")
	release := s.occupy(t, s.get(t, namespace, "my-web-1").Status.Network.PrimaryIP4, 18083)
	s.Kubectl(t, "patch", "vm/my-web-1", "-n", namespace, "--type=merge", "-p",
		`{"spec":{"readinessProbe":{"tcpSocket":{"port":18083}}}}`)
	answers("nobody answers the probe of one", "my-web-2")
	waittest.Within(t, 30*time.Second, "word of it", func(context.Context) error {
		if out := s.Output.String(); !strings.Contains(out, ":18083: another process listens there") {
			return fmt.Errorf("`supervisor up` says\n%s", out)
		}
		return nil
	})
	release()
	answers("its guest answers", "my-web-1", "my-web-2")
	s.Kubectl(t, "delete", "vmservice/open", "vmservice/my-web", "-n", namespace, "--timeout=60s")
	waittest.Within(t, 30*time.Second, "nobody to listen any more", func(context.Context) error {
		if got := answer(); !strings.Contains(got, "refused") {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
	s.Kubectl(t, "delete", "vm", "-n", namespace, "--all", "--timeout=60s")
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
	if got, err := netip.ParseAddr(address); err != nil || !s.Guests.Addresses().Contains(got) {
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
