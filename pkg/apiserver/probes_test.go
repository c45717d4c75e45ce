// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/utils/clock"

	topologyv1 "github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/login"
	"github.com/openpacific/pacific/pkg/login/token"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
	"github.com/openpacific/pacific/pkg/registry/topology"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestReadinessCountsLogins holds a server with a login service to be ready only
// once it can sign tokens, and one without to say nothing of it.
func TestReadinessCountsLogins(t *testing.T) {
	logger, ctx := ktesting.NewTestContext(t)
	etcd, err := ledger.Embed(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	records := &ledger.Ledger{Client: etcd.Client(), Prefix: "/pacific", Clock: clock.RealClock{}}
	keys := &token.Keys{Store: signingKeys{ledger.Documents{Ledger: records, Kind: "login"}}, Rand: rand.Reader,
		Clock: clock.RealClock{}, Logger: logger}

	checks := map[string]healthz.HealthChecker{}
	for _, check := range (probes{login: &login.Service{Tokens: &token.Issuer{Keys: keys}}}).readiness() {
		checks[check.Name()] = check
	}
	if err := checks["login"].Check(nil); !errors.Is(err, failure.Unavailable) {
		t.Errorf("ready for logins without keys: %v", err)
	}
	if err := keys.Sync(ctx); !errors.Is(err, failure.Unavailable) {
		t.Errorf("a replica that never led makes keys: %v", err)
	}
	if _, err := records.NewTerm(ctx); err != nil {
		t.Fatal(err)
	}
	if err := keys.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if err := checks["login"].Check(nil); err != nil {
		t.Errorf("with keys: %v", err)
	}

	var names []string
	for _, check := range (probes{}).readiness() {
		names = append(names, check.Name())
	}
	if diff := cmp.Diff([]string{"vcenter", "inventory", "leader", "storage", "client-ca", "records"}, names); diff != "" {
		t.Errorf("checks of a server without a login service (-want +got):\n%s", diff)
	}
}

// TestPolledKindsAreReadyByThemselves has a kind that cannot be read: it has a check of its own, and the server's does
// not look at it.
func TestPolledKindsAreReadyByThemselves(t *testing.T) {
	prepared()
	frame := newFrame(nil, nil, nil)
	frame.Sequence.Begin(1)
	server, _ := (&world{t: t}).server(frame)
	trouble := errors.New("a content library is dead")
	var read atomic.Bool
	kind, err := registry.ServePolled(frame, topology.Zones(), func() error {
		if read.Load() {
			return nil
		}
		return trouble
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { registry.Destroy(kind) })
	checked := probes{kinds: []registry.Served{kind}}
	if err := addProbes(server, checked); err != nil {
		t.Fatal(err)
	}
	ask := func() *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		server.Handler.NonGoRestfulMux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz/zones", nil))
		return answer
	}
	if got := ask(); got.Code != http.StatusInternalServerError || !strings.Contains(got.Body.String(), trouble.Error()) {
		t.Errorf("its own check: %d %s", got.Code, got.Body)
	}
	for _, check := range checked.readiness() {
		if check.Name() == "storage" {
			if err := check.Check(nil); err != nil {
				t.Errorf("the server is not ready for it: %v", err)
			}
		}
	}
	var zones kindtest.World[topologyv1.Zone]
	kind.Project(zones.Shown())
	kind.Open()
	zones.ShowAll()
	read.Store(true)
	waittest.Eventually(t, "its own check is content", func() bool { return ask().Code == http.StatusOK })
}

// That the account may not see what is served is nothing that the caller may not.
func TestNotReadYet(t *testing.T) {
	hidden := fmt.Errorf("the account lacks the privilege System.View: %w", failure.Forbidden)
	for name, err := range map[string]error{
		"nothing was read":     notReadYet(inventory.Status{}, nil),
		"the account is blind": notReadYet(inventory.Status{Err: hidden}, nil),
		"nobody is logged in":  notReadYet(inventory.Status{Err: hidden}, fmt.Errorf("refused: %w", failure.Unauthenticated)),
	} {
		if kind := failure.KindOf(err); kind != failure.Unavailable {
			t.Errorf("%s: %v is a failure of the kind %q", name, err, kind)
		}
	}
}
