// SPDX-License-Identifier: Apache-2.0

package login

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/login/guard"
	"github.com/openpacific/pacific/pkg/login/token"
)

const (
	rightPassword = "r1ght-c4nary"
	wrongPassword = "wr0ng-c4nary"
	constantBody  = `{"reason":"InvalidCredentials","message":"invalid or missing credentials"}` + "\n"
)

// logBuffer collects what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) logger() klog.Logger {
	return textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(b), textlogger.Verbosity(10)))
}

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
		return []Workload{{Namespace: "team-b", Host: "10.0.0.7", Port: "7443", DNSNames: []string{"api.test"}}, {Namespace: "team-a"}}, nil
	case "ops@corp.test":
		return nil, errors.New("not synced yet")
	}
	return nil, nil
})

type fixture struct {
	*testing.T
	*Service
	log      *logBuffer
	registry metrics.KubeRegistry
	server   *httptest.Server
}

// newFixture serves what change makes of a plain service.
func newFixture(t *testing.T, change func(*Service)) *fixture {
	t.Helper()
	f := &fixture{T: t, log: &logBuffer{}, registry: metrics.NewKubeRegistry()}
	f.server = httptest.NewUnstartedServer(nil)
	url := "https://" + f.server.Listener.Addr().String() + "/openidconnect/vsphere.local"
	real := clock.RealClock{}
	keys := &token.Keys{Store: &token.FileStore{Path: filepath.Join(t.TempDir(), "keys")}, Rand: rand.Reader, Clock: real, Logger: f.log.logger()}
	if err := keys.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Service = &Service{
		Prover: people, Workloads: roles, Banner: "Authorized use only.\n",
		Tokens: &token.Issuer{URL: url, Keys: keys, Rand: rand.Reader, Clock: real},
		Limits: guard.Limits{UserFailures: 1000, AddressFailures: 1000}, RefusalTime: 10 * time.Millisecond,
		Logger: f.log.logger(), Clock: real, Metrics: NewMetrics(f.registry.MustRegister),
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
	h := http.Header{"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}, "Content-Type": {"application/json"}}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

const challenge = `Basic realm="vSphere", charset="UTF-8"`

func TestBanner(t *testing.T) {
	f := newFixture(t, nil)
	want := answer{200, "Authorized use only.\n", header("Content-Type", "text/plain; charset=utf-8")}
	if diff := cmp.Diff(want, f.send("GET", "/wcp/loginbanner", "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWorkloads(t *testing.T) {
	f := newFixture(t, nil)
	host := "127.0.0.1"
	want := answer{200, `[{"namespace":"team-a","master_host":"` + host + `","control_plane_api_server_port":"6443","conrol_plane_api_server_port":"6443","control_plane_DNS_names":[]},` +
		`{"namespace":"team-b","master_host":"10.0.0.7","control_plane_api_server_port":"7443","conrol_plane_api_server_port":"7443","control_plane_DNS_names":["api.test"]}]` + "\n", header()}
	if diff := cmp.Diff(want, f.send("GET", "/wcp/workloads", "", "Authorization", basic("dev@vsphere.local", rightPassword))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = answer{200, "[]\n", header()}
	if diff := cmp.Diff(want, f.send("GET", "/wcp/workloads", "", "Authorization", basic("nobody@vsphere.local", rightPassword))); diff != "" {
		t.Errorf("of a user without any role (-want +got):\n%s", diff)
	}
	if got := f.send("GET", "/wcp/workloads", "", "Authorization", basic("ops@corp.test", rightPassword)); got.Status != 503 {
		t.Errorf("while the roles are not known: %+v", got)
	}
	f.Host, f.Port = "api.lab.test", "443"
	got := f.send("GET", "/wcp/workloads", "", "Authorization", basic("dev@vsphere.local", rightPassword))
	if !strings.Contains(got.Body, `"namespace":"team-a","master_host":"api.lab.test","control_plane_api_server_port":"443"`) {
		t.Errorf("with an address of its own: %s", got.Body)
	}
}

func TestLogin(t *testing.T) {
	f := newFixture(t, nil)
	const noGuest = "there is no such guest cluster, or you have no access to it"
	for body, wantError := range map[string]string{
		"": "", "  \n": "", "{}": "", `{"guest_cluster_namespace":"team-a"}`: "", `{"guest_cluster_name":""}`: "", `{"client":{"a":1,"a":2},"x":null}`: "",
		`{"guest_cluster_name":"c1"}`: noGuest, `{"guest_cluster_name":"c1","guest_cluster_namespace":"team-a"}`: noGuest, `{"guest_cluster_name":"../../x\u0000"}`: noGuest,
	} {
		got := f.login("dev@vsphere.local", rightPassword, body)
		var answer struct {
			Session string  `json:"session_id"`
			Server  *string `json:"guest_cluster_server"`
			CA      *string `json:"guest_cluster_ca"`
			Error   string  `json:"error"`
		}
		decode(t, got.Body, &answer)
		if got.Status != 200 || answer.Server == nil || *answer.Server != "" || answer.CA == nil || answer.Error != wantError {
			t.Errorf("body %q: %d %s", body, got.Status, got.Body)
		}
		claims, err := f.Tokens.Verify(answer.Session, token.Audience)
		if err != nil {
			t.Errorf("body %q: %v", body, err)
		}
		want := token.Claims{Subject: "dev@vsphere.local", Audience: token.Audience, Domain: "vsphere.local", Username: "dev", Issuer: f.Tokens.URL,
			Groups: []string{"Everyone@vsphere.local", "odd, \"group\" ümlaut@vsphere.local"}, Expires: claims.IssuedAt + 36000, IssuedAt: claims.IssuedAt, ID: claims.ID}
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Errorf("claims (-want +got):\n%s", diff)
		}
	}
}

func TestDiscovery(t *testing.T) {
	f := newFixture(t, nil)
	url := f.Tokens.URL
	want := answer{200, `{"issuer":"` + url + `","jwks_uri":"` + url + `/jwks","response_types_supported":["id_token"],"subject_types_supported":["public"],` +
		`"id_token_signing_alg_values_supported":["RS256"],"claims_supported":["sub","aud","domain","username","iss","group_names","exp","iat","jti"]}` + "\n",
		header("Cache-Control", "public, max-age=300")}
	if diff := cmp.Diff(want, f.send("GET", "/openidconnect/vsphere.local/.well-known/openid-configuration", "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var set struct{ Keys []map[string]any }
	decode(t, f.send("GET", "/openidconnect/vsphere.local/jwks", "").Body, &set)
	if len(set.Keys) != 1 {
		t.Fatalf("%d keys", len(set.Keys))
	}
	var names []string
	for name := range set.Keys[0] {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"alg", "e", "kid", "kty", "n", "use"}, names); diff != "" {
		t.Errorf("a key shows (-want +got):\n%s", diff)
	}
	f.JWKSURL = "https://elsewhere.test/keys"
	if got := f.send("GET", "/openidconnect/vsphere.local/.well-known/openid-configuration", ""); !strings.Contains(got.Body, `"jwks_uri":"https://elsewhere.test/keys"`) {
		t.Errorf("with keys elsewhere: %s", got.Body)
	}
}

func TestNoKeysYet(t *testing.T) {
	f := newFixture(t, func(s *Service) { s.Tokens.Keys = &token.Keys{Clock: s.Clock} })
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 503 {
		t.Errorf("login: %+v", got)
	}
	if got := f.send("GET", "/openidconnect/vsphere.local/jwks", ""); got.Status != 503 {
		t.Errorf("keys: %+v", got)
	}
	if err := f.Ready(); !errors.Is(err, failure.Unavailable) {
		t.Errorf("ready: %v", err)
	}
}

func TestMethods(t *testing.T) {
	f := newFixture(t, nil)
	allowed := map[string]string{
		"/wcp/loginbanner": "GET, HEAD", "/wcp/workloads": "GET", "/wcp/login": "POST",
		"/openidconnect/vsphere.local/.well-known/openid-configuration": "GET, HEAD", "/openidconnect/vsphere.local/jwks": "GET, HEAD",
	}
	for path, methods := range allowed {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if slices.Contains(strings.Split(methods, ", "), method) {
				continue
			}
			got := f.send(method, path, "", "Authorization", basic("dev@vsphere.local", rightPassword))
			if got.Status != 405 || got.Header.Get("Allow") != methods {
				t.Errorf("%s %s: %d, Allow %q", method, path, got.Status, got.Header.Get("Allow"))
			}
		}
	}
	for _, path := range []string{"/", "/wcp", "/wcp/", "/wcp/login/", "/wcp/Login", "/wcp/helloworld", "/.well-known/openid-configuration"} {
		want := answer{404, `{"reason":"NotFound","message":"there is nothing at this path"}` + "\n", header()}
		if diff := cmp.Diff(want, f.send("POST", path, "", "Authorization", basic("dev@vsphere.local", rightPassword))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if got := f.attempts(); len(got) != 0 {
		t.Errorf("attempts %v", got)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, user, password string
		want                 answer
	}{
		{"a wrong password", "dev@vsphere.local", wrongPassword, answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"an unknown user", "stranger@vsphere.local", rightPassword, answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"no password", "dev@vsphere.local", "", answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"a password that cannot be sent", "dev@vsphere.local", "a\x00b", answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"a very long password", "dev@vsphere.local", strings.Repeat("x", 1025), answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"no domain", "dev", rightPassword, answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"no user", "@vsphere.local", rightPassword, answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"a line break", "dev\r\n@vsphere.local", rightPassword, answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"a space at the end", "dev@vsphere.local ", rightPassword, answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"may not log in", "shut@vsphere.local", wrongPassword, answer{403, `{"reason":"Forbidden","message":"this user may not log in here"}` + "\n", header()}},
		{"vCenter is away", "away@vsphere.local", rightPassword, away},
		{"vCenter is slow", "slow@vsphere.local", rightPassword, away},
		{"an error of no kind", "odd@vsphere.local", rightPassword, away},
		{"an odd answer", "nameless@vsphere.local", rightPassword, away},
	}
	for _, path := range []string{"/wcp/login", "/wcp/workloads"} {
		method := map[string]string{"/wcp/login": "POST", "/wcp/workloads": "GET"}[path]
		f := newFixture(t, nil)
		for _, test := range tests {
			t.Run(path+" "+test.name, func(t *testing.T) {
				if diff := cmp.Diff(test.want, f.send(method, path, "", "Authorization", basic(test.user, test.password))); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

var away = answer{503, `{"reason":"Unavailable","message":"vCenter's single sign-on cannot be asked now: try again, and tell the administrator if it lasts"}` + "\n", header("Retry-After", "5")}

func TestHeaderTricks(t *testing.T) {
	f := newFixture(t, nil)
	good := basic("dev@vsphere.local", rightPassword)
	tests := []struct {
		name    string
		headers []string
		want    int
	}{
		{"none", nil, 401},
		{"empty", []string{"Authorization", ""}, 401},
		{"the scheme in another case", []string{"Authorization", "bASIC" + good[5:]}, 200},
		{"two of them", []string{"Authorization", good, "Authorization", basic("ops@corp.test", rightPassword)}, 400},
		{"the same twice", []string{"Authorization", good, "Authorization", good}, 400},
		{"two in one", []string{"Authorization", good + ", " + good}, 400},
		{"another scheme", []string{"Authorization", "Bearer " + good[6:]}, 400},
		{"no scheme", []string{"Authorization", good[6:]}, 400},
		{"not base64", []string{"Authorization", "Basic !!!!"}, 400},
		{"base64 with bits to spare", []string{"Authorization", "Basic YTpC="}, 400},
		{"no colon", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("dev@vsphere.local"))}, 400},
		{"not UTF-8", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("d\xff@vsphere.local:x"))}, 400},
		{"too long", []string{"Authorization", basic("dev@vsphere.local", strings.Repeat("x", 4096))}, 431},
		{"too many bytes of others", []string{"Authorization", good, "X-Padding", strings.Repeat("x", 17<<10)}, 431},
		{"an encoded body", []string{"Authorization", good, "Content-Encoding", "gzip"}, 400},
		{"who I am, by header", []string{"X-Remote-User", "dev@vsphere.local", "Impersonate-User", "dev"}, 401},
		{"another method, by header", []string{"Authorization", good, "X-HTTP-Method-Override", "DELETE"}, 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := f.send("POST", "/wcp/login", "", test.headers...)
			if got.Status != test.want {
				t.Errorf("%d %s, want %d", got.Status, got.Body, test.want)
			}
			if got.Status != 200 && strings.Contains(got.Body, "session_id") {
				t.Error("a token in a refusal")
			}
		})
	}
}

func TestJSONTricks(t *testing.T) {
	f := newFixture(t, nil)
	tests := map[string]struct {
		body string
		want int
	}{
		"a member twice":               {`{"guest_cluster_name":"a","guest_cluster_name":"b"}`, 400},
		"a member twice, but for case": {`{"guest_cluster_name":"a","Guest_Cluster_Name":"b"}`, 400},
		"twice by an escape":           {`{"guest_cluster_name":"a","guest_cluster_nam\u0065":"b"}`, 400},
		"an unknown member twice":      {`{"x":1,"x":2}`, 400},
		"garbage behind":               {`{} {}`, 400},
		"more garbage behind":          {`{}x`, 400},
		"a number for text":            {`{"guest_cluster_name":1}`, 400},
		"null for text":                {`{"guest_cluster_name":null}`, 400},
		"an object for text":           {`{"guest_cluster_namespace":{}}`, 400},
		"a list":                       {`[]`, 400},
		"text":                         {`"x"`, 400},
		"null":                         {`null`, 400},
		"cut off":                      {`{"guest_cluster_name":"a"`, 400},
		"a comma too many":             {`{"guest_cluster_name":"a",}`, 400},
		"not UTF-8":                    {"{\"guest_cluster_name\":\"\xff\"}", 400},
		"a byte order mark":            {"\ufeff{}", 400},
		"a form":                       {"guest_cluster_name=a", 400},
		"deep":                         {strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000), 413},
		"deep within the limit":        {strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000), 200},
		"too large":                    {`{"x":"` + strings.Repeat("x", 16<<10) + `"}`, 413},
		"spaces":                       {" {\n\t\"guest_cluster_name\" :  \"a\" } ", 200},
		"as large as can be":           {`{"x":"` + strings.Repeat("x", 16<<10-8) + `"}`, 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := f.login("dev@vsphere.local", rightPassword, test.body); got.Status != test.want {
				t.Errorf("%d %s, want %d", got.Status, got.Body, test.want)
			}
		})
	}
}

func TestSpellingsOfOneAccountAreCountedTogether(t *testing.T) {
	f := newFixture(t, func(s *Service) {
		s.Limits = guard.Limits{}
		s.DefaultDomain, s.DomainAliases = "vsphere.local", map[string]string{"vmwarem": "vsphere.local"}
	})
	for i, user := range []string{"Victim@vsphere.local", `VSPHERE.LOCAL\victim`, "victim"} {
		if got := f.login(user, wrongPassword, ""); got.Status != 401 {
			t.Fatalf("attempt %d: %+v", i, got)
		}
	}
	for _, user := range []string{"victim@vsphere.local", "VICTIM@VMWAREM", `vmwarem\victim`, "v\u0131ctim@vsphere.local"} {
		got := f.login(user, rightPassword, "")
		want := answer{429, `{"reason":"TooManyAttempts","message":"too many failed attempts: try again later"}` + "\n", header("Retry-After", got.Header.Get("Retry-After"))}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", user, diff)
		}
	}
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Errorf("another user: %+v", got)
	}
}

// Spraying one password over many users ends at the address's limit, and a
// colleague who has logged in from there before is not shut out.
func TestPasswordSpraying(t *testing.T) {
	asked := map[string]int{}
	var mu sync.Mutex
	f := newFixture(t, func(s *Service) {
		s.Limits, s.RefusalTime = guard.Limits{AddressFailures: 20}, time.Millisecond
		s.Prover = proverFunc(func(ctx context.Context, username, password string) (string, []string, error) {
			mu.Lock()
			asked[username]++
			mu.Unlock()
			return people(ctx, username, password)
		})
	})
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	counts := map[int]int{}
	for i := range 100 {
		counts[f.login(fmt.Sprintf("user-%d@vsphere.local", i), "Summer2026!", "").Status]++
	}
	if diff := cmp.Diff(map[int]int{401: 20, 429: 80}, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Errorf("the colleague: %+v", got)
	}
	if len(asked) != 21 {
		t.Errorf("vCenter was asked about %d users", len(asked))
	}
}

// An unknown user and a wrong password get the same answer after the same time,
// although vCenter takes longer over one of them.
func TestTimeTellsNothing(t *testing.T) {
	const step = 150 * time.Millisecond
	f := newFixture(t, func(s *Service) {
		s.RefusalTime = step
		s.Prover = proverFunc(func(_ context.Context, username, _ string) (string, []string, error) {
			if strings.HasPrefix(username, "known") {
				timer := time.NewTimer(70 * time.Millisecond)
				<-timer.C
			}
			return "", nil, failure.Unauthenticated
		})
	})
	took := map[string][]time.Duration{}
	for range 9 {
		for _, user := range []string{"known@vsphere.local", "unknown@vsphere.local", "no-domain"} {
			start := time.Now()
			got := f.login(user, wrongPassword, "")
			took[user] = append(took[user], time.Since(start))
			if got.Status != 401 || got.Body != constantBody {
				t.Fatalf("%s: %+v", user, got)
			}
		}
	}
	median := func(user string) time.Duration {
		slices.Sort(took[user])
		return took[user][len(took[user])/2]
	}
	known := median("known@vsphere.local")
	for user := range took {
		if took[user][0] < step {
			t.Errorf("%s was answered after %s", user, took[user][0])
		}
		if difference := (median(user) - known).Abs(); difference > 30*time.Millisecond {
			t.Errorf("%s differs by %s: %v", user, difference, took)
		}
	}
}

// A client that hangs up before the answer has made an attempt all the same.
func TestHangingUpDoesNotHideAFailure(t *testing.T) {
	reached, proceed := make(chan struct{}), make(chan struct{})
	f := newFixture(t, func(s *Service) {
		s.Limits = guard.Limits{UserFailures: 1}
		s.Prover = proverFunc(func(ctx context.Context, _, _ string) (string, []string, error) {
			close(reached)
			<-proceed
			if err := ctx.Err(); err != nil {
				t.Errorf("the proof was ended with the client: %v", err)
			}
			return "", nil, failure.Unauthenticated
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", f.server.URL+"/wcp/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("victim@vsphere.local", wrongPassword)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := f.server.Client().Do(r); err == nil {
			response.Body.Close()
		}
	}()
	<-reached
	cancel()
	<-done
	close(proceed)
	// It waits for the outcome of the first one.
	if got := f.login("victim@vsphere.local", wrongPassword, ""); got.Status != 429 {
		t.Errorf("%+v", got)
	}
}

func TestProofsUnderWayAreBounded(t *testing.T) {
	proceed := make(chan struct{})
	var mu sync.Mutex
	now, most := 0, 0
	f := newFixture(t, func(s *Service) {
		s.MaxProofs = 4
		s.Prover = proverFunc(func(ctx context.Context, username, _ string) (string, []string, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-proceed
			mu.Lock()
			now--
			mu.Unlock()
			return username, nil, nil
		})
	})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if got := f.login(fmt.Sprintf("user-%d@vsphere.local", i), rightPassword, ""); got.Status != 200 {
				t.Errorf("%+v", got)
			}
		})
	}
	close(proceed)
	all.Wait()
	if most > 4 {
		t.Errorf("%d at a time", most)
	}

	held := newFixture(t, func(s *Service) {
		s.MaxProofs, s.Timeout = 1, 50*time.Millisecond
		s.Prover = proverFunc(func(ctx context.Context, _, _ string) (string, []string, error) {
			<-ctx.Done()
			return "", nil, ctx.Err()
		})
	})
	held.proofs <- struct{}{}
	got := held.login("dev@vsphere.local", rightPassword, "")
	want := answer{503, `{"reason":"Busy","message":"too many logins are under way: try again"}` + "\n", header("Retry-After", "2")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	<-held.proofs
	if diff := cmp.Diff(away, held.login("dev@vsphere.local", rightPassword, "")); diff != "" {
		t.Errorf("a proof that takes too long (-want +got):\n%s", diff)
	}
}

// No password and no token is in a log, an answer that refuses, or a metric,
// whatever happens.
func TestSecretsDoNotLeak(t *testing.T) {
	f := newFixture(t, func(s *Service) {
		s.Prover = proverFunc(func(ctx context.Context, username, password string) (string, []string, error) {
			if strings.HasPrefix(username, "leaky") {
				return "", nil, fmt.Errorf("could not send %q to vCenter: %w", password, failure.Unavailable)
			}
			return people(ctx, username, password)
		})
	})
	var answers []string
	var tokens []string
	for _, user := range []string{"dev@vsphere.local", "stranger@vsphere.local", "dev", "away@vsphere.local", "odd@vsphere.local", "shut@vsphere.local", "panic@vsphere.local", "leaky@vsphere.local"} {
		for _, password := range []string{rightPassword, wrongPassword} {
			for _, body := range []string{"", "[", `{"guest_cluster_name":"x"}`} {
				got := f.login(user, password, body)
				if got.Status == 200 {
					var answer struct {
						Session string `json:"session_id"`
					}
					decode(t, got.Body, &answer)
					tokens = append(tokens, answer.Session)
					continue
				}
				answers = append(answers, got.Body+fmt.Sprint(got.Header))
			}
			answers = append(answers, f.send("POST", "/wcp/login", "", "Authorization", "Basic "+rightPassword).Body,
				f.send("PUT", "/wcp/login", "", "Authorization", basic(user, password)).Body)
		}
	}
	if len(tokens) != 2 {
		t.Fatalf("%d tokens", len(tokens))
	}
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{rightPassword, wrongPassword, basic("dev@vsphere.local", rightPassword)[6:], base64.StdEncoding.EncodeToString([]byte(rightPassword))[:12]}
	for _, text := range tokens {
		secrets = append(secrets, text, strings.Split(text, ".")[1], strings.Split(text, ".")[2])
	}
	for where, text := range map[string]string{"the log": f.log.String(), "an answer": strings.Join(answers, "\n"), "a metric": fmt.Sprint(families)} {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %q", where, secret)
			}
		}
	}
	if log := f.log.String(); !strings.Contains(log, "A login request ended in a panic") || !strings.Contains(log, `[redacted]`) {
		t.Errorf("the log tells nothing of the panic or the leak:\n%s", log)
	}
}

func TestEveryAttemptIsRecorded(t *testing.T) {
	f := newFixture(t, func(s *Service) {
		s.Limits = guard.Limits{UserFailures: 1}
		s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	from := func(address, user, password string) {
		f.send("POST", "/wcp/login", "", "Authorization", basic(user, password), "X-Forwarded-For", "203.0.113.99, "+address)
	}
	from("192.0.2.1", "dev@vsphere.local", rightPassword)
	from("192.0.2.2", "DEV@vsphere.LOCAL", wrongPassword)
	from("192.0.2.3", "dev@vsphere.local", wrongPassword)
	from("2001:db8::1", "away@vsphere.local", wrongPassword)
	from("nonsense", "no-domain", wrongPassword)
	f.send("GET", "/wcp/workloads", "", "Authorization", basic("shut@vsphere.local", wrongPassword))
	f.send("GET", "/wcp/workloads", "")
	want := map[string]float64{"login accepted": 1, "login refused": 2, "login limited": 1, "login unavailable": 1, "workloads forbidden": 1, "workloads malformed": 1}
	if diff := cmp.Diff(want, f.attempts()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	var audit []string
	for line := range strings.Lines(f.log.String()) {
		if _, found, ok := strings.Cut(line, `"Login attempt" `); ok {
			before, _, _ := strings.Cut(strings.TrimSpace(found), ` reason="token `)
			audit = append(audit, before)
		}
	}
	wantAudit := []string{
		`operation="login" user="dev@vsphere.local" address="192.0.2.1" outcome="accepted"`,
		`operation="login" user="DEV@vsphere.local" address="192.0.2.2" outcome="refused" reason="vCenter refused the user name or password"`,
		`operation="login" user="dev@vsphere.local" address="192.0.2.3" outcome="limited" reason="too many failures of this user"`,
		`operation="login" user="away@vsphere.local" address="2001:db8::1" outcome="unavailable" reason="vCenter could not be asked"`,
		`operation="login" user="" address="127.0.0.1" outcome="refused" reason="not a user name or password"`,
		`operation="workloads" user="shut@vsphere.local" address="127.0.0.1" outcome="forbidden" reason="not allowed to log in"`,
		`operation="workloads" user="" address="127.0.0.1" outcome="malformed" reason="MissingCredentials"`,
	}
	if diff := cmp.Diff(wantAudit, audit); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestForwardedForIsBelievedOfProxiesOnly(t *testing.T) {
	tests := []struct {
		name, peer, forwarded, want string
		trusted                     []netip.Prefix
	}{
		{"nobody is trusted", "198.51.100.1:5", "192.0.2.1", "198.51.100.1", nil},
		{"a proxy", "10.0.0.1:5", "192.0.2.1", "192.0.2.1", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{"what the client wrote before the proxy did", "10.0.0.1:5", "1.2.3.4, 192.0.2.1", "192.0.2.1", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{"two proxies", "10.0.0.1:5", "192.0.2.1, 10.9.9.9", "192.0.2.1", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{"nonsense", "10.0.0.1:5", "me", "10.0.0.1", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{"no peer", "@", "", "invalid IP", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = test.peer
			r.Header.Set("X-Forwarded-For", test.forwarded)
			if got := (&Service{TrustedProxies: test.trusted}).clientAddress(r).String(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestServer(t *testing.T) {
	f := newFixture(t, nil)
	server := NewServer(f.Handler(), &tls.Config{Certificates: f.server.TLS.Certificates, MinVersion: tls.VersionTLS10}, f.log.logger())
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server.TLSConfig)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	defer func() {
		_ = server.Close()
		<-done
	}()
	for version, works := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		connection, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		if (err == nil) != works {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			connection.Close()
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+listener.Addr().String()+"/wcp/loginbanner", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Padding", strings.Repeat("x", 64<<10))
	response, err := f.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 431 {
		t.Errorf("large headers: %s", response.Status)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	f := newFixture(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Service.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
