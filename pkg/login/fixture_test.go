// SPDX-License-Identifier: Apache-2.0

package login

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/login/guard"
	"github.com/openpacific/pacific/pkg/login/token"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	rightPassword = "r1ght-c4nary"
	wrongPassword = "wr0ng-c4nary"
	constantBody  = `{"reason":"InvalidCredentials","message":"invalid or missing credentials"}` + "\n"
)

// proverFunc is a vCenter of a test's making.
type proverFunc func(ctx context.Context, username, password string) (string, []string, error)

func (f proverFunc) Authenticate(ctx context.Context, username, password string) (string, []string, error) {
	return f(ctx, username, password)
}

// people knows a few users with one password.
var people = proverFunc(func(_ context.Context, username, password string) (string, []string, error) {
	switch known := slices.Contains([]string{"dev@vsphere.local", "nobody@vsphere.local", "ops@corp.test"}, username); {
	case strings.HasPrefix(username, "away"):
		return "", nil, fmt.Errorf("vCenter is away: %w", failure.Unavailable)
	case strings.HasPrefix(username, "slow"):
		return "", nil, fmt.Errorf("vCenter is slow: %w", failure.Timeout)
	case strings.HasPrefix(username, "odd"):
		return "", nil, errors.New("nobody knows")
	case strings.HasPrefix(username, "shut"):
		return "", nil, fmt.Errorf("no role: %w", failure.Forbidden)
	case strings.HasPrefix(username, "nameless"):
		return "nameless", nil, nil
	case strings.HasPrefix(username, "panic"):
		panic("with the password " + password)
	case known && password == rightPassword:
		return username, []string{"Everyone@vsphere.local", "odd, \"group\" ümlaut@vsphere.local"}, nil
	}
	return "", nil, fmt.Errorf("refused: %w", failure.Unauthenticated)
})

type workloadsFunc func(context.Context, Identity) ([]Workload, error)

func (f workloadsFunc) Of(ctx context.Context, user Identity) ([]Workload, error) {
	return f(ctx, user)
}

// roles gives dev two namespaces.
var roles = workloadsFunc(func(_ context.Context, user Identity) ([]Workload, error) {
	switch user.Name() {
	case "dev@vsphere.local":
		return []Workload{{Namespace: "team-b", Host: "10.0.0.7", Port: "7443", DNSNames: []string{"api.test"}},
			{Namespace: "team-a"}}, nil
	case "ops@corp.test":
		return nil, errors.New("not synced yet")
	}
	return nil, nil
})

// memory is a token.Store that holds the keys as the ledger does, and is gone with the test.
type memory struct {
	mu      sync.Mutex
	data    []byte
	version int
}

func (m *memory) Load(context.Context) ([]byte, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.version == 0 {
		return nil, "", nil
	}
	return bytes.Clone(m.data), strconv.Itoa(m.version), nil
}

func (m *memory) Save(_ context.Context, data []byte, version string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if present := strconv.Itoa(m.version); version != present && (version != "" || m.version != 0) {
		return fmt.Errorf("save version %s over %s: %w", version, present, failure.Conflict)
	}
	m.data, m.version = bytes.Clone(data), m.version+1
	return nil
}

type fixture struct {
	*testing.T
	*Service
	log      *waittest.Output
	registry metrics.KubeRegistry
	server   *httptest.Server
}

// newFixture serves what change makes of a plain service.
func newFixture(t *testing.T, change func(*Service)) *fixture {
	t.Helper()
	f := &fixture{T: t, log: &waittest.Output{}, registry: metrics.NewKubeRegistry()}
	f.server = httptest.NewUnstartedServer(nil)
	url := "https://" + f.server.Listener.Addr().String() + "/openidconnect/vsphere.local"
	real := clock.RealClock{}
	keys := &token.Keys{Store: &memory{}, Rand: rand.Reader, Clock: real, Logger: f.log.Logger()}
	if err := keys.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Service = &Service{
		Prover: people, Workloads: roles, Banner: "Authorized use only.\n",
		Tokens: &token.Issuer{URL: url, Keys: keys, Rand: rand.Reader, Clock: real},
		Limits: guard.Limits{UserFailures: 1000, AddressFailures: 1000}, RefusalTime: 10 * time.Millisecond,
		Logger: f.log.Logger(), Clock: real, Metrics: NewMetrics(f.registry.MustRegister),
	}
	if change != nil {
		change(f.Service)
	}
	f.server.Config.Handler = f.Handler()
	f.server.EnableHTTP2 = true
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	return f
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// answer is a response, in a form to compare.
type answer struct {
	Status int
	Body   string
	Header http.Header
}

// send makes a request; headers are pairs.
func (f *fixture) send(method, path, body string, headers ...string) answer {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.server.URL+path, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := f.server.Client().Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"Date", "Content-Length"} {
		response.Header.Del(name)
	}
	return answer{response.StatusCode, string(content), response.Header}
}

func (f *fixture) login(user, password, body string) answer {
	f.Helper()
	return f.send("POST", "/wcp/login", body, "Authorization", basic(user, password), "Content-Type", "application/json")
}

// attempts returns the counts, by operation and outcome.
func (f *fixture) attempts() map[string]float64 {
	f.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		f.Fatal(err)
	}
	counts := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetType() == dto.MetricType_COUNTER && family.GetName() == "pacific_login_attempts_total" {
				counts[metric.GetLabel()[0].GetValue()+" "+metric.GetLabel()[1].GetValue()] = metric.GetCounter().GetValue()
			}
		}
	}
	return counts
}

func header(pairs ...string) http.Header {
	h := http.Header{"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
		"Content-Type": {"application/json"}}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

const challenge = `Basic realm="vSphere", charset="UTF-8"`
