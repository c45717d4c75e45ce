// SPDX-License-Identifier: Apache-2.0

package wcp_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/plugin/wcp"
	"github.com/openpacific/pacific/plugin/wcp/wcptest"
)

func TestParseAddress(t *testing.T) {
	good := map[string]wcp.Address{
		"10.0.1.10":               {Host: "10.0.1.10"},
		"https://10.0.1.10/":      {Host: "10.0.1.10"},
		"SV.Example.com":          {Host: "sv.example.com"},
		"sv.example.com:443":      {Host: "sv.example.com"},
		"https://localhost:8443":  {Host: "localhost", Port: "8443"},
		"fd00::1":                 {Host: "fd00::1"},
		"https://[fd00::1]:8443/": {Host: "fd00::1", Port: "8443"},
		" sv ":                    {Host: "sv"},
	}
	for text, want := range good {
		if got, err := wcp.ParseAddress(text); err != nil || got != want {
			t.Errorf("ParseAddress(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "https://", "http://sv", "ftp://sv", "sv/wcp", "https://dev:secret@sv", "dev@sv", "sv:port", "sv:-1", "sv:123456",
		"sv\nevil", "sv evil", "sv\x1b[2J", "sv?x", "sv#x", "-sv", "../sv", "sv%2fevil", "wcp:sv:dev",
	} {
		if got, err := wcp.ParseAddress(text); err == nil {
			t.Errorf("ParseAddress(%q) = %+v, want an error", text, got)
		} else if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("ParseAddress(%q): the error holds a control character", text)
		}
	}
}

// client returns a client of a handler.
func client(t *testing.T, handler http.Handler) *wcp.Client {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	address, err := wcp.ParseAddress(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return wcp.New(address, server.Client().Transport, 5*time.Second, slog.New(slog.DiscardHandler), time.Now)
}

var dev = wcp.Credentials{Username: "dev@vsphere.local", Password: "Sw0rdfish!"}

// TestWorkloads takes both spellings of the port's key, numbers and strings,
// and leaves out what no Supervisor sends.
func TestWorkloads(t *testing.T) {
	got, err := client(t, &wcptest.Supervisor{
		Users: map[string]string{dev.Username: dev.Password},
		Workloads: `[
			{"namespace":"a","master_host":"10.0.1.10","control_plane_api_server_port":"6443","control_plane_DNS_names":["sv"]},
			{"namespace":"b","master_host":"10.0.1.10","conrol_plane_api_server_port":"6444","control_plane_dns_names":["sv"]},
			{"namespace":"c","master_host":"SV.example.com","control_plane_api_server_port":6445},
			{"namespace":"d","master_host":"10.0.1.10","control_plane_api_server_port":"; rm -rf"},
			{"namespace":"e","master_host":"10.0.1.10","unknown":{"a":[1]}},
			{"namespace":"f\u001b[2J","master_host":"10.0.1.10"},
			{"namespace":"g","master_host":"evil/x@10.0.1.10"},
			{"namespace":"h","master_host":""},
			{"namespace":"","master_host":"10.0.1.10"}]`,
	}).Workloads(t.Context(), dev)
	host := wcp.Address{Host: "10.0.1.10"}
	want := []wcp.Workload{
		{Namespace: "a", MasterHost: host, Port: "6443", DNSNames: []string{"sv"}},
		{Namespace: "b", MasterHost: host, Port: "6444", DNSNames: []string{"sv"}},
		{Namespace: "c", MasterHost: wcp.Address{Host: "sv.example.com"}, Port: "6445"},
		{Namespace: "d", MasterHost: host},
		{Namespace: "e", MasterHost: host},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestAuthorities takes authorities, and nothing else that a server may send in
// their place: what comes out is written into kubeconfigs.
func TestAuthorities(t *testing.T) {
	authority := wcptest.NewAuthority(t, "CA")
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Issue(t, "sv").Certificate[0]})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})
	cluster := func(text []byte) string {
		return "\n- name: x\n  cluster: {server: \"https://sv\", certificate-authority-data: \"" +
			base64.StdEncoding.EncodeToString(text) + "\"}"
	}
	kubeconfig := func(text string) string {
		configMap, err := json.Marshal(map[string]any{"kind": "ConfigMap", "data": map[string]string{"kubeconfig": text}})
		if err != nil {
			t.Fatal(err)
		}
		return string(configMap)
	}
	tests := map[string]struct {
		answer string
		want   []byte
	}{
		"one": {kubeconfig("clusters:" + cluster(authority.PEM())), authority.PEM()},
		"among other things": {kubeconfig("clusters:" + cluster(
			slices.Concat([]byte("text\n"), key, leaf, authority.PEM(), []byte("more")))), authority.PEM()},
		"a server's certificate": {kubeconfig("clusters:" + cluster(leaf)), nil},
		"nothing":                {kubeconfig("clusters:" + cluster(nil)), nil},
		"two clusters":           {kubeconfig("clusters:" + cluster(authority.PEM()) + cluster(authority.PEM())), nil},
		"no cluster":             {kubeconfig("clusters: []"), nil},
		"not base64":             {kubeconfig("clusters:\n- cluster: {certificate-authority-data: '%'}"), nil},
		"not YAML":               {kubeconfig("\t{"), nil},
		"not a kubeconfig":       {kubeconfig("- a\n- b"), nil},
		"not a ConfigMap":        {`[1]`, nil},
		"a page":                 {"<html>Kubernetes CLI Tools</html>", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var asked []string
			got, err := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Method+" "+r.URL.Path+r.Header.Get("Authorization"))
				fmt.Fprint(w, test.answer)
			})).Authorities(t.Context())
			if diff := cmp.Diff(string(test.want), string(got)); diff != "" || (err == nil) != (test.want != nil) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if diff := cmp.Diff([]string{"GET /api/v1/namespaces/kube-public/configmaps/vip-cluster-info"}, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestStatus tells what goes wrong in the words of VMware's plugin, with what
// the server says about it, and without what it was told.
func TestStatus(t *testing.T) {
	tests := []struct {
		status  int
		body    string
		want    string
		refused bool
	}{
		{401, "Unauthorized\n", "invalid or missing credentials", true},
		{401, "", "invalid or missing credentials", true},
		{401, `{"error":"invalid_grant","message":"the account is locked"}`,
			"invalid or missing credentials: the account is locked", true},
		{403, `{"error":"no namespace for you"}`, "forbidden: no namespace for you", true},
		{403, `{"kind":"Status","message":"forbidden: User \"system:anonymous\" cannot get path"}`,
			`forbidden: User "system:anonymous" cannot get path`, true},
		{429, `{"message":"try again in 30 s"}`, "too many requests: try again in 30 s", true},
		{500, "x509: dns failure\n\n\x1b[31m", "internal server error: x509: dns failure [31m", false},
		{502, "<html>nginx</html>", "bad gateway", false},
		{503, strings.Repeat("x", 1000), "service unavailable: " + strings.Repeat("x", 300) + "...", false},
		{500, "no user with password Sw0rdfish!", "internal server error", false},
		{500, `{"message":"ZGV2QHZzcGhlcmUubG9jYWw6U3cwcmRmaXNoIQ=="}`, "internal server error", false},
		{302, "", "the server answers with a redirect (status 302), which is not followed", false},
		{204, "", "no content", false},
		{599, "", "status 599", false},
	}
	for _, test := range tests {
		_, err := client(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://evil.example.com/")
			w.WriteHeader(test.status)
			fmt.Fprint(w, test.body)
		})).Login(t.Context(), dev, nil)
		if err == nil || err.Error() != test.want {
			t.Errorf("status %d, %q: got %q, want %q", test.status, test.body, err, test.want)
		}
		if wcp.Refused(err) != test.refused {
			t.Errorf("status %d: refused %v", test.status, !test.refused)
		}
	}
}

func TestLogin(t *testing.T) {
	tests := []struct {
		name, body string
		guest      *wcp.Guest
		want       *wcp.Session
		err        string
	}{
		{"token", `{"session_id":"a.eyJleHAiOjQwMDAwMDAwMDB9.c"}`, nil,
			&wcp.Session{Token: "a.eyJleHAiOjQwMDAwMDAwMDB9.c", Expires: time.Unix(4000000000, 0).UTC()}, ""},
		{"opaque token", `{"session_id":"abc","more":1}`, nil, &wcp.Session{Token: "abc"}, ""},
		{"expiry that is none", `{"session_id":"a.eyJleHAiOiJ4In0.c"}`, nil, &wcp.Session{Token: "a.eyJleHAiOiJ4In0.c"}, ""},
		{"no token", `{}`, nil, nil, "the server's answer to the login holds no token"},
		{"token that splits a header", `{"session_id":"a\r\nX-Evil: 1"}`, nil, nil,
			"the server's answer to the login holds no token"},
		{"no JSON", `<html>`, nil, nil, "the server's answer to the login is not understood"},
		{"no cluster", `{"session_id":"abc","guest_cluster_server":""}`, &wcp.Guest{Name: "shop"}, nil,
			wcp.ErrNoCluster.Error()},
		{"cluster", `{"session_id":"abc","guest_cluster_server":"10.0.1.99","guest_cluster_ca":"UEVN"}`,
			&wcp.Guest{Name: "shop"}, &wcp.Session{Token: "abc", Server: wcp.Address{Host: "10.0.1.99"}, CA: []byte("PEM")}, ""},
		{"cluster at an odd address", `{"session_id":"abc","guest_cluster_server":"evil/x"}`, &wcp.Guest{Name: "shop"}, nil,
			`the server names an impossible address of the cluster: "evil/x" is not the address of a server: a path does not ` +
				`belong in it`},
		{"too long", `{"session_id":"` + strings.Repeat("a", 9<<20) + `"}`, nil, nil, "the server's answer is too long"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := client(t, http.HandlerFunc(func(w http.ResponseWriter,
				_ *http.Request) {
				fmt.Fprint(w, test.body)
			})).Login(t.Context(), dev, test.guest)
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Fatalf("got %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestRedirectKeepsThePassword redirects to another port of the same host,
// where Go would send the password again.
func TestRedirectKeepsThePassword(t *testing.T) {
	var got int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got++ }))
	defer other.Close()
	_, err := client(t, http.RedirectHandler(other.URL, http.StatusPermanentRedirect)).Workloads(t.Context(), dev)
	if err == nil || got != 0 {
		t.Errorf("followed %d times, %v", got, err)
	}
}

func TestTimeout(t *testing.T) {
	slow := client(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	slow.HTTP.Timeout = 50 * time.Millisecond
	_, err := slow.Banner(t.Context())
	var connection *wcp.ConnectionError
	if !errors.As(err, &connection) || !strings.HasSuffix(err.Error(), ": no answer in time") {
		t.Errorf("got %v", err)
	}
}

// TestSecretsAreNotPrinted prints the structs that hold some, in each way.
func TestSecretsAreNotPrinted(t *testing.T) {
	session := wcp.Session{Token: "Sw0rdfish!"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, value := range []any{dev, &dev, session, &session, []any{dev, session}} {
			if text := fmt.Sprintf(format, value); strings.Contains(text, "Sw0rdfish!") {
				t.Errorf("%s of %T prints it: %s", format, value, text)
			}
		}
	}
}
