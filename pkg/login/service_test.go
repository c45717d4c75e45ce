// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/login/guard"
	"github.com/openpacific/pacific/pkg/login/token"
)

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
	want := answer{200, `[{"namespace":"team-a","master_host":"` + host +
		`","control_plane_api_server_port":"6443","conrol_plane_api_server_port":"6443","control_plane_DNS_names":[]},` +
		`{"namespace":"team-b","master_host":"10.0.0.7","control_plane_api_server_port":"7443","conrol_plane_api_server_port":"7443","control_plane_DNS_names":["api.test"]}]` + "\n", header()}
	if diff := cmp.Diff(want, f.send("GET", "/wcp/workloads", "", "Authorization",
		basic("dev@vsphere.local", rightPassword))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = answer{200, "[]\n", header()}
	if diff := cmp.Diff(want, f.send("GET", "/wcp/workloads", "", "Authorization",
		basic("nobody@vsphere.local", rightPassword))); diff != "" {
		t.Errorf("of a user without any role (-want +got):\n%s", diff)
	}
	if got := f.send("GET", "/wcp/workloads", "", "Authorization",
		basic("ops@corp.test", rightPassword)); got.Status != 503 {
		t.Errorf("while the roles are not known: %+v", got)
	}
	f.Host, f.Port = "api.lab.test", "443"
	got := f.send("GET", "/wcp/workloads", "", "Authorization", basic("dev@vsphere.local", rightPassword))
	if !strings.Contains(got.Body,
		`"namespace":"team-a","master_host":"api.lab.test","control_plane_api_server_port":"443"`) {
		t.Errorf("with an address of its own: %s", got.Body)
	}
}

func TestLogin(t *testing.T) {
	f := newFixture(t, nil)
	const noGuest = "there is no such guest cluster, or you have no access to it"
	for body, wantError := range map[string]string{
		"": "", "  \n": "", "{}": "", `{"guest_cluster_namespace":"team-a"}`: "", `{"guest_cluster_name":""}`: "",
		`{"client":{"a":1,"a":2},"x":null}`:                              "",
		`{"guest_cluster_name":"c1"}`:                                    noGuest,
		`{"guest_cluster_name":"c1","guest_cluster_namespace":"team-a"}`: noGuest,
		`{"guest_cluster_name":"../../x\u0000"}`:                         noGuest,
	} {
		got := f.login("dev@vsphere.local", rightPassword, body)
		var answer struct {
			Session string  `json:"session_id"`
			Server  *string `json:"guest_cluster_server"`
			CA      *string `json:"guest_cluster_ca"`
			Error   string  `json:"error"`
		}
		decode(t, got.Body, &answer)
		if got.Status != 200 || answer.Server == nil || *answer.Server != "" || answer.CA == nil ||
			answer.Error != wantError {
			t.Errorf("body %q: %d %s", body, got.Status, got.Body)
		}
		claims, err := f.Tokens.Verify(answer.Session, token.Audience)
		if err != nil {
			t.Errorf("body %q: %v", body, err)
		}
		want := token.Claims{Subject: "dev@vsphere.local", Audience: token.Audience, Domain: "vsphere.local", Username: "dev",
			Issuer: f.Tokens.URL,
			Groups: []string{"Everyone@vsphere.local", "odd, \"group\" ümlaut@vsphere.local"}, Expires: claims.IssuedAt + 36000,
			IssuedAt: claims.IssuedAt, ID: claims.ID}
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Errorf("claims (-want +got):\n%s", diff)
		}
	}
}

func TestDiscovery(t *testing.T) {
	f := newFixture(t, nil)
	url := f.Tokens.URL
	want := answer{200, `{"issuer":"` + url + `","jwks_uri":"` + url +
		`/jwks","response_types_supported":["id_token"],"subject_types_supported":["public"],` +
		`"id_token_signing_alg_values_supported":["RS256"],"claims_supported":["sub","aud","domain","username","iss","group_names","exp","iat","jti"]}` + "\n",
		header("Cache-Control", "public, max-age=300")}
	if diff := cmp.Diff(want, f.send("GET", "/openidconnect/vsphere.local/.well-known/openid-configuration",
		"")); diff != "" {
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
	if got := f.send("GET", "/openidconnect/vsphere.local/.well-known/openid-configuration",
		""); !strings.Contains(got.Body, `"jwks_uri":"https://elsewhere.test/keys"`) {
		t.Errorf("with keys elsewhere: %s", got.Body)
	}
}

// What is told of the Kubernetes API is a kubeconfig in the form of kubeadm's
// cluster-info, which other clients of a Supervisor read.
func TestClusterInfo(t *testing.T) {
	const path = "/api/v1/namespaces/kube-public/configmaps/vip-cluster-info"
	authorities, failing := []byte("-----BEGIN CERTIFICATE-----\n"), error(nil)
	f := newFixture(t, func(s *Service) {
		s.Authorities = func() ([]byte, error) { return authorities, failing }
		s.Port = "16443"
	})
	want := map[string]*clientcmdapi.Cluster{"": {
		Server: "https://127.0.0.1:16443", CertificateAuthorityData: authorities, Extensions: map[string]runtime.Object{}}}
	read := func() map[string]*clientcmdapi.Cluster {
		t.Helper()
		got := f.send("GET", path, "")
		var configMap corev1.ConfigMap
		decode(t, got.Body, &configMap)
		if got.Status != 200 || configMap.Kind != "ConfigMap" || configMap.APIVersion != "v1" ||
			configMap.Name != "vip-cluster-info" || configMap.Namespace != "kube-public" {
			t.Fatalf("%+v", got)
		}
		config, err := clientcmd.Load([]byte(configMap.Data["kubeconfig"]))
		if err != nil {
			t.Fatal(err)
		}
		return config.Clusters
	}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f.Host = "fd00::1"
	want[""].Server = "https://[fd00::1]:16443"
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("with an address of its own (-want +got):\n%s", diff)
	}
	failing = errors.New("no such file: /secret/place")
	if got := f.send("GET", path, ""); got.Status != 503 || strings.Contains(got.Body, "secret") {
		t.Errorf("while they cannot be read: %+v", got)
	}
	if got := newFixture(t, nil).send("GET", path, ""); got.Status != 404 {
		t.Errorf("of a service that knows none: %+v", got)
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
		"/openidconnect/vsphere.local/.well-known/openid-configuration": "GET, HEAD",
		"/openidconnect/vsphere.local/jwks":                             "GET, HEAD",
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
	for _, path := range []string{"/", "/wcp", "/wcp/", "/wcp/login/", "/wcp/Login", "/wcp/helloworld",
		"/.well-known/openid-configuration"} {
		want := answer{404, `{"reason":"NotFound","message":"there is nothing at this path"}` + "\n", header()}
		if diff := cmp.Diff(want, f.send("POST", path, "", "Authorization",
			basic("dev@vsphere.local", rightPassword))); diff != "" {
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
		{"a wrong password", "dev@vsphere.local", wrongPassword,
			answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"an unknown user", "stranger@vsphere.local", rightPassword,
			answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"no password", "dev@vsphere.local", "", answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"a password that cannot be sent", "dev@vsphere.local", "a\x00b",
			answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"a very long password", "dev@vsphere.local", strings.Repeat("x", 1025),
			answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"no domain", "dev", rightPassword, answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"no user", "@vsphere.local", rightPassword, answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"a line break", "dev\r\n@vsphere.local", rightPassword,
			answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"a space at the end", "dev@vsphere.local ", rightPassword,
			answer{401, constantBody, header("WWW-Authenticate", challenge)}},
		{"may not log in", "shut@vsphere.local", wrongPassword,
			answer{403, `{"reason":"Forbidden","message":"this user may not log in here"}` + "\n", header()}},
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
				if diff := cmp.Diff(test.want, f.send(method, path, "", "Authorization",
					basic(test.user, test.password))); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

var away = answer{503,
	`{"reason":"Unavailable","message":"vCenter's single sign-on cannot be asked now: try again, and tell the ` +
		`administrator if it lasts"}` + "\n", header("Retry-After", "5")}

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
	want := map[string]float64{"login accepted": 1, "login refused": 2, "login limited": 1, "login unavailable": 1,
		"workloads forbidden": 1, "workloads malformed": 1}
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
		`operation="login" user="DEV@vsphere.local" address="192.0.2.2" outcome="refused" reason="vCenter refused the ` +
			`user name or password"`,
		`operation="login" user="dev@vsphere.local" address="192.0.2.3" outcome="limited" reason="too many failures of ` +
			`this user"`,
		`operation="login" user="away@vsphere.local" address="2001:db8::1" outcome="unavailable" reason="vCenter could ` +
			`not be asked"`,
		`operation="login" user="" address="127.0.0.1" outcome="refused" reason="not a user name or password"`,
		`operation="workloads" user="shut@vsphere.local" address="127.0.0.1" outcome="forbidden" reason="not allowed to ` +
			`log in"`,
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
		{"what the client wrote before the proxy did", "10.0.0.1:5", "1.2.3.4, 192.0.2.1", "192.0.2.1",
			[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{"two proxies", "10.0.0.1:5", "192.0.2.1, 10.9.9.9", "192.0.2.1",
			[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
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
	server := NewServer(f.Handler(), &tls.Config{Certificates: f.server.TLS.Certificates, MinVersion: tls.VersionTLS10},
		f.log.Logger())
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
	for version, works := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true,
		tls.VersionTLS13: true} {
		connection, err := tls.Dial("tcp", listener.Addr().String(),
			&tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
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
