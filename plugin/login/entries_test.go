// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp"
)

const (
	ourUser   = "wcp:10.0.1.10:dev"
	otherUser = "wcp:10.0.1.20:dev"
)

func at(name, port string) *host {
	address, err := wcp.ParseAddress(name)
	if err != nil {
		panic(err)
	}
	h := &host{address: address, apiPort: port, session: &wcp.Session{Token: "t"}}
	h.cluster = kubeconfig.Cluster{Server: wcp.HTTPS(h.api())}
	return h
}

// shopAt is the Tanzu Kubernetes cluster shop, whose API server is at an address.
func shopAt(address string) *guest {
	return &guest{
		session: &wcp.Session{Token: "g", Server: wcp.Address{Host: address}, CA: []byte("PEM")},
		cluster: kubeconfig.Cluster{Server: wcp.HTTPS(address, "6443")},
	}
}

// TestPlan names the contexts as VMware's plugin does, and does not take what
// belongs to others.
func TestPlan(t *testing.T) {
	server, other := at("10.0.1.10", ""), at("10.0.1.20", "6444")
	tests := []struct {
		name     string
		existing kubeconfig.Config
		outcome  result
		names    []string
		contexts map[string]kubeconfig.Context
		clusters map[string]string // name → address
	}{
		{
			name:     "no namespaces",
			outcome:  result{server: server},
			names:    []string{"10.0.1.10"},
			contexts: map[string]kubeconfig.Context{"10.0.1.10": {Cluster: "10.0.1.10", User: ourUser}},
			clusters: map[string]string{"10.0.1.10": "https://10.0.1.10:6443"},
		},
		{
			name: "two hosts have a namespace of one name",
			outcome: result{server: server, others: []*host{other},
				workloads: []workload{{"team-a", server}, {"team-a", other}}},
			names: []string{"10.0.1.10", "team-a", "team-a-10.0.1.20"},
			contexts: map[string]kubeconfig.Context{
				"10.0.1.10":        {Cluster: "10.0.1.10", User: ourUser},
				"team-a":           {Cluster: "10.0.1.10", User: ourUser, Namespace: "team-a"},
				"team-a-10.0.1.20": {Cluster: "10.0.1.20", User: otherUser, Namespace: "team-a"},
			},
			clusters: map[string]string{"10.0.1.10": "https://10.0.1.10:6443", "10.0.1.20": "https://10.0.1.20:6444"},
		},
		{
			name:    "a cluster is called as a namespace",
			outcome: result{server: server, workloads: []workload{{"shop", server}}, guest: shopAt("10.0.1.99")},
			names:   []string{"10.0.1.10", "shop", "shop-10.0.1.99"},
			contexts: map[string]kubeconfig.Context{
				"10.0.1.10":      {Cluster: "10.0.1.10", User: ourUser},
				"shop":           {Cluster: "10.0.1.10", User: ourUser, Namespace: "shop"},
				"shop-10.0.1.99": {Cluster: "10.0.1.99", User: "wcp:10.0.1.99:dev"},
			},
			clusters: map[string]string{"10.0.1.10": "https://10.0.1.10:6443", "10.0.1.99": "https://10.0.1.99:6443"},
		},
		{
			name: "a context and a cluster of others, a context of an earlier login elsewhere",
			existing: kubeconfig.Config{
				Clusters: map[string]kubeconfig.Cluster{"10.0.1.10": {Server: "https://mine"}},
				Contexts: map[string]kubeconfig.Context{
					"team-a":           {Cluster: "10.0.1.10", User: "me"},
					"team-a-10.0.1.10": {Cluster: "10.0.1.10", User: "me"},
					"team-b":           {Cluster: "10.0.1.20", User: otherUser, Namespace: "team-b"},
				},
			},
			outcome: result{server: server, workloads: []workload{{"team-a", server}, {"team-b", server}}},
			names:   []string{"10.0.1.10", "team-a-10.0.1.10-2", "team-b-10.0.1.10"},
			contexts: map[string]kubeconfig.Context{
				"10.0.1.10":          {Cluster: "wcp:10.0.1.10", User: ourUser},
				"team-a-10.0.1.10-2": {Cluster: "wcp:10.0.1.10", User: ourUser, Namespace: "team-a"},
				"team-b-10.0.1.10":   {Cluster: "wcp:10.0.1.10", User: ourUser, Namespace: "team-b"},
			},
			clusters: map[string]string{"wcp:10.0.1.10": "https://10.0.1.10:6443"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			made, err := makePlan(&test.existing, &test.outcome, &wcp.Guest{Name: "shop"}, "dev", nil)
			if err != nil {
				t.Fatal(err)
			}
			changes, names := made.changes, made.names
			addresses := map[string]string{}
			for name, cluster := range changes.Clusters {
				addresses[name] = cluster.Server
			}
			if diff := cmp.Diff(test.names, names); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.contexts, changes.Contexts); diff != "" {
				t.Errorf("contexts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.clusters, addresses); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
			if *changes.CurrentContext != "10.0.1.10" {
				t.Errorf("current context %s", *changes.CurrentContext)
			}
		})
	}
}

// TestPlan_ConflictsAreNotWritten: the entries of one address belong to one login
// server, whoever else says what is there.
func TestPlan_ConflictsAreNotWritten(t *testing.T) {
	// A kubeconfig after a login at 10.0.1.20, and at its cluster at 10.0.1.99.
	noted := kubeconfig.Cluster{Server: "https://10.0.1.99:6443"}
	noted.MadeAt("10.0.1.20")
	existing := &kubeconfig.Config{
		Clusters: map[string]kubeconfig.Cluster{"10.0.1.20": {Server: "https://10.0.1.20:6443"}, "10.0.1.99": noted},
		Contexts: map[string]kubeconfig.Context{
			"10.0.1.20": {Cluster: "10.0.1.20", User: otherUser},
			"shop":      {Cluster: "10.0.1.99", User: "wcp:10.0.1.99:dev"},
		},
		Users: map[string]kubeconfig.User{otherUser: {}, "wcp:10.0.1.99:dev": {}},
	}
	tests := []struct {
		name    string
		outcome result
		fails   bool
	}{
		{"a cluster at another Supervisor's address", result{server: at("10.0.1.10", ""), guest: shopAt("10.0.1.20")}, true},
		{"a cluster at the address of another Supervisor's cluster",
			result{server: at("10.0.1.10", ""), guest: shopAt("10.0.1.99")}, true},
		{"a cluster at the server's own address", result{server: at("10.0.1.10", ""), guest: shopAt("10.0.1.10")}, true},
		{"a cluster at the address of a host of this login",
			result{server: at("10.0.1.10", ""), others: []*host{at("10.0.1.11", "")}, guest: shopAt("10.0.1.11")}, true},
		{"a Supervisor at the address of another one's cluster", result{server: at("10.0.1.99", "")}, true},
		{"the same cluster again", result{server: at("10.0.1.20", ""), guest: shopAt("10.0.1.99")}, false},
		{"a cluster at an address of its own", result{server: at("10.0.1.10", ""), guest: shopAt("10.0.1.98")}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			made, err := makePlan(existing, &test.outcome, &wcp.Guest{Name: "shop"}, "dev", nil)
			if (err != nil) != test.fails || (made == nil) != test.fails {
				t.Errorf("%+v, %v", made, err)
			}
		})
	}
}

func TestClusterEntry(t *testing.T) {
	want := kubeconfig.Cluster{Server: "https://[fd00::1]:6443", CertificateAuthorityData: "UEVN", TLSServerName: "sv"}
	got := cluster(wcp.HTTPS("fd00::1", "6443"), trust.Settings{CA: []byte("PEM"), ServerName: "sv"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSame finds out which hosts are the server itself.
func TestSame(t *testing.T) {
	resolves := func(_ context.Context, name string) ([]string, error) {
		if name == "sv.example.com" {
			return []string{"10.0.1.10", "fd00::1"}, nil
		}
		return nil, errors.New("no such host")
	}
	tests := []struct {
		server, host string
		names        []string
		want         bool
	}{
		{"10.0.1.10", "10.0.1.10", nil, true},
		{"10.0.1.10:8443", "10.0.1.10", nil, true},
		{"10.0.1.10", "10.0.1.20", nil, false},
		{"sv.example.com", "10.0.1.10", nil, true},
		{"sv.example.com", "fd00::1", nil, true},
		{"sv.example.com", "10.0.1.20", nil, false},
		{"sv.example.com", "SV.example.com", nil, true},
		{"sv.example.com", "other.example.com", nil, false},
		{"vip.example.com", "10.0.1.10", []string{"VIP.example.com"}, true},
		{"vip.example.com", "10.0.1.10", []string{"sv.example.com"}, false},
		{"10.0.1.9", "10.0.1.10", []string{"10.0.1.9"}, true},
	}
	for _, test := range tests {
		address := at(test.server, "").address
		a := &authenticator{address: address, resolve: resolves, log: slog.New(slog.DiscardHandler)}
		if got := a.same(t.Context(), wcp.Workload{MasterHost: at(test.host, "").address,
			DNSNames: test.names}); got != test.want {
			t.Errorf("%s is %s with %v: %v", test.host, test.server, test.names, got)
		}
	}
}
