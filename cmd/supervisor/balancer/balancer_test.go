// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/waittest"
)

// world is a balancer with a network of its own, and what it has told.
type world struct {
	t       *testing.T
	network guestaddress.Network
	client  *fake.Clientset

	mu    sync.Mutex
	ports map[netip.Addr][]uint16
	said  []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	network, err := guestaddress.Parse(fmt.Sprintf("127.%d.0.0/16", 70+rand.IntN(180)))
	if err != nil {
		t.Fatal(err)
	}
	if err := network.Lacking(); errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skipf("this system has 127.0.0.1 alone: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, network: network, client: fake.NewClientset()}
	b := &Balancer{Client: w.client, Network: network,
		Tell: func(_ context.Context, ports map[netip.Addr][]uint16) ([]string, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ports = ports
			return []string{"a guest does not answer"}, nil
		},
		Say: func(format string, args ...any) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.said = append(w.said, fmt.Sprintf(format, args...))
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return w
}

// service makes a service of one port, with an address, that leads to guests at an address each, ready or not.
func (w *world) service(name, address string, protocol corev1.Protocol, guests map[string]bool,
	from ...string) {
	w.t.Helper()
	labels := map[string]string{vsphere.ManagedLabel: vsphere.ManagedBy}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: labels},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerSourceRanges: from, Ports: []corev1.ServicePort{
			{Name: "a", Protocol: protocol, Port: 18080, TargetPort: intstr.FromInt32(18081)}}},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{
			Ingress: []corev1.LoadBalancerIngress{{IP: address}}}},
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{
			discoveryv1.LabelServiceName: name, discoveryv1.LabelManagedBy: vsphere.ManagedBy}},
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("a"), Port: ptr.To[int32](18081), Protocol: &protocol}},
	}
	for guest, is := range guests {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{guest},
			Conditions: discoveryv1.EndpointConditions{Ready: &is}})
	}
	if _, err := w.client.CoreV1().Services("ns").Create(w.t.Context(), service, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.client.DiscoveryV1().EndpointSlices("ns").Create(w.t.Context(), slice,
		metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// guest answers at an address with its name, after it has heard something.
func (w *world) guest(address, name string) {
	w.t.Helper()
	at, _ := w.network.Of(netip.MustParseAddr(address))
	listener, err := net.Listen("tcp", netip.AddrPortFrom(at, 18081).String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				heard, _ := io.ReadAll(connection)
				fmt.Fprintf(connection, "%s heard %s", name, heard)
				_ = connection.Close()
			}()
		}
	}()
}

// asks connects to an address, says something and returns the answer.
func asks(address string) string {
	connection, err := net.DialTimeout("tcp", net.JoinHostPort(address, "18080"), 5*time.Second)
	if err != nil {
		return "refused"
	}
	defer connection.Close()
	fmt.Fprint(connection, "hello")
	_ = connection.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(connection)
	return string(answer)
}

// TestBalancer: connections reach the guests that are ready in their turn, past one that takes none; what cannot be is
// said once.
func TestBalancer(t *testing.T) {
	w := newWorld(t)
	address := w.network.Addresses().Addr().Next().String()
	w.guest("10.66.0.11", "one")
	w.guest("10.66.0.12", "two")
	w.guest("10.66.0.13", "not ready")
	w.service("web", address, corev1.ProtocolTCP,
		map[string]bool{"10.66.0.11": true, "10.66.0.12": true, "10.66.0.13": false, "10.66.0.14": true})
	w.service("told", "10.66.250.9", corev1.ProtocolTCP, map[string]bool{"10.66.0.11": true})
	w.service("closed", w.network.Addresses().Addr().Next().Next().String(), corev1.ProtocolTCP,
		map[string]bool{"10.66.0.11": true}, "192.0.2.0/24")
	w.service("far", "192.0.2.1", corev1.ProtocolTCP, nil)
	w.service("names", w.network.Addresses().Addr().Next().Next().Next().String(), corev1.ProtocolUDP, nil)
	waittest.Within(t, 10*time.Second, "both guests", func(context.Context) error {
		answers := map[string]bool{}
		for range 6 {
			answers[asks(address)] = true
		}
		if diff := cmp.Diff(map[string]bool{"one heard hello": true, "two heard hello": true}, answers); diff != "" {
			return fmt.Errorf("answers (-want +got):\n%s", diff)
		}
		return nil
	})
	reached, _ := w.network.Of(netip.MustParseAddr("10.66.250.9"))
	waittest.Within(t, 10*time.Second, "an address that vCenter could tell", func(context.Context) error {
		if got := asks(reached.String()); got != "one heard hello" {
			return fmt.Errorf("it answers %q", got)
		}
		return nil
	})
	waittest.Within(t, 10*time.Second, "what is told and said", func(context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		ports := map[string][]uint16{}
		for at, of := range w.ports {
			ports[at.String()] = of
		}
		if diff := cmp.Diff(map[string][]uint16{"10.66.0.11": {18081}, "10.66.0.12": {18081}, "10.66.0.13": {18081},
			"10.66.0.14": {18081}}, ports); diff != "" {
			return fmt.Errorf("ports (-want +got):\n%s", diff)
		}
		for _, want := range []string{"a guest does not answer", "nobody listens on 192.0.2.1", "only TCP"} {
			if n := strings.Count(strings.Join(w.said, "\n"), want); n != 1 {
				return fmt.Errorf("%q is said %d times in %q", want, n, w.said)
			}
		}
		return nil
	})
	if got := asks(w.network.Addresses().Addr().Next().Next().String()); got != "" {
		t.Errorf("who may not connect is answered %q", got)
	}
	if err := w.client.CoreV1().Services("ns").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "nobody listens any more", func() bool { return asks(address) == "refused" })
}
