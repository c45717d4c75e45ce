// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// TestHeaderTricksAtTheLogin sends what a client would not. Nothing but a name and a password makes somebody.
func TestHeaderTricksAtTheLogin(t *testing.T) {
	t.Parallel()
	s := running(t)
	// Wrong passwords are counted: nobody else is to pay for them, and who logged in once may miss more often.
	name := s.directory(t).user("header-tricks")
	s.token(t, name, vcentertest.SamplePassword)
	good := basic(name, vcentertest.SamplePassword)
	encoded := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	masquerade := http.Header{
		"X-Remote-User": {"kubernetes-admin"}, "X-Remote-Group": {"system:masters"}, "X-Remote-Extra-Scopes": {"all"},
		"Impersonate-User": {"kubernetes-admin"}, "Impersonate-Group": {"system:masters"},
		"X-Forwarded-User": {"administrator@vsphere.local"},
		"X-Forwarded-For":  {"127.0.0.1"}, "X-Original-Url": {"/healthz"}, "X-Http-Method-Override": {"GET"},
	}
	for what, try := range map[string]struct {
		header http.Header
		body   string
		want   int
	}{
		"nothing":                    {nil, "", 401},
		"to be somebody, by headers": {masquerade, "", 401},
		"no scheme":                  {http.Header{"Authorization": {good[6:]}}, "", 400},
		"Bearer":                     {http.Header{"Authorization": {"Bearer " + good[6:]}}, "", 400},
		"two headers": {http.Header{"Authorization": {good,
			basic("dev-a@vsphere.local", vcentertest.SamplePassword)}}, "", 400},
		"the same header twice": {http.Header{"Authorization": {good, good}}, "", 400},
		"two in one header":     {http.Header{"Authorization": {good + ", " + good}}, "", 400},
		"no colon":              {http.Header{"Authorization": {encoded(name)}}, "", 400},
		"no name": {http.Header{"Authorization": {encoded(":" + vcentertest.SamplePassword)}}, "",
			401},
		"no password": {http.Header{"Authorization": {encoded(name + ":")}}, "", 401},
		"a newline after the name": {http.Header{"Authorization": {
			encoded(name + "\n:" + vcentertest.SamplePassword)}}, "", 401},
		"a header in the name": {http.Header{"Authorization": {
			encoded(name + "\r\nX-Remote-User: admin:" + vcentertest.SamplePassword)}}, "", 401},
		"a NUL after the name": {http.Header{"Authorization": {
			encoded(name + "\x00:" + vcentertest.SamplePassword)}}, "", 401},
		"a NUL in the password": {http.Header{"Authorization": {
			encoded(name + ":" + vcentertest.SamplePassword + "\x00x")}}, "", 401},
		"a newline after the password": {http.Header{"Authorization": {
			encoded(name + ":" + vcentertest.SamplePassword + "\n")}}, "", 401},
		"a colon in the name": {http.Header{"Authorization": {
			encoded("no:body@vsphere.local:" + vcentertest.SamplePassword)}}, "", 401},
		"not UTF-8": {http.Header{"Authorization": {
			encoded("\xff" + name + ":" + vcentertest.SamplePassword)}}, "", 400},
		"another account of XML": {http.Header{"Authorization": {
			encoded("x</userName><userName>" + name + ":" + vcentertest.SamplePassword)}}, "", 401},
		"too long an Authorization": {http.Header{"Authorization": {basic(name, strings.Repeat("x", 8<<10))}}, "", 431},
		"too many headers": {http.Header{"Authorization": {good}, "X-Padding": {strings.Repeat("x", 20<<10)}},
			"", 431},
		"far too many headers": {http.Header{"Authorization": {good}, "X-Padding": {strings.Repeat("x", 2<<20)}},
			"", 431},
		"too large a body": {http.Header{"Authorization": {good}},
			`{"x":"` + strings.Repeat("x", 32<<10) + `"}`, 413},
		"a deep body":   {http.Header{"Authorization": {good}}, strings.Repeat("[", 16<<10), 400},
		"a deep object": {http.Header{"Authorization": {good}}, strings.Repeat(`{"a":`, 3000), 400},
		"a member twice": {http.Header{"Authorization": {good}},
			`{"guest_cluster_name":"a","guest_cluster_name":"b"}`, 400},
		"a member twice, but for case": {http.Header{"Authorization": {good}},
			`{"guest_cluster_name":"a","GUEST_CLUSTER_NAME":"b"}`, 400},
		"a member twice, by an escape": {http.Header{"Authorization": {good}},
			`{"guest_cluster_name":"a","guest_cluster_nam\u0065":"b"}`, 400},
		"a number for text": {http.Header{"Authorization": {good}}, `{"guest_cluster_name":1}`, 400},
		"a form": {http.Header{"Authorization": {good},
			"Content-Type": {"application/x-www-form-urlencoded"}}, "guest_cluster_name=a", 400},
		"XML": {http.Header{"Authorization": {good}, "Content-Type": {"text/xml"}},
			"<guest_cluster_name>a</guest_cluster_name>", 400},
		"a body that is said to be zip":   {http.Header{"Authorization": {good}, "Content-Encoding": {"gzip"}}, "{}", 400},
		"good":                            {http.Header{"Authorization": {good}}, "{}", 200},
		"good, and to be another besides": {with2(masquerade, "Authorization", good), "{}", 200},
		"good, with another content type": {http.Header{"Authorization": {good}, "Content-Type": {"text/plain"}}, `{}`, 200},
	} {
		t.Run(what, func(t *testing.T) {
			code, body := s.knock(t, http.MethodPost, s.LoginURL(t)+"/wcp/login", []byte(try.body), try.header)
			if code != try.want {
				t.Errorf("%d %s, want %d", code, body, try.want)
			}
			if strings.Contains(body, "session_id") != (code == http.StatusOK) {
				t.Errorf("%d, and the answer is %s", code, body)
			}
			if code == http.StatusOK {
				for door, address := range s.doors(t) {
					token := strings.Split(strings.SplitN(body, `"session_id":"`, 2)[1], `"`)[0]
					if _, user := s.whoami(t, address, http.Header{"Authorization": {"Bearer " + token}}); user.Username != "sso:"+
						name {
						t.Errorf("%s: the token is of %q", door, user.Username)
					}
				}
			}
		})
	}
}

// with2 is a copy of a header with one more.
func with2(header http.Header, name, value string) http.Header {
	header = header.Clone()
	header.Set(name, value)
	return header
}

// TestHeaderTricksAtTheAPI says to be somebody at both of the doors.
func TestHeaderTricksAtTheAPI(t *testing.T) {
	t.Parallel()
	s := running(t)
	token := s.token(t, "nobody@vsphere.local", vcentertest.SamplePassword)
	bearer := http.Header{"Authorization": {"Bearer " + token}}
	remote := http.Header{
		"X-Remote-User": {"kubernetes-admin"}, "X-Remote-Group": {"system:masters"}, "X-Remote-Uid": {"1"},
		"X-Remote-Extra-A": {"b"},
		"X-Forwarded-User": {"kubernetes-admin"}, "Front-Proxy-User": {"kubernetes-admin"},
	}
	const secrets = "/api/v1/namespaces/kube-system/secrets"
	for door, address := range s.doors(t) {
		both := remote.Clone()
		maps.Copy(both, bearer)
		if code, user := s.whoami(t, address, both); code != http.StatusCreated ||
			user.Username != "sso:nobody@vsphere.local" || slices.Contains(user.Groups, "system:masters") {
			t.Errorf("%s: with headers besides the token: %d, %v", door, code, user)
		}
		for what, try := range map[string]struct {
			path   string
			header http.Header
			want   []int
		}{
			"nobody":                         {secrets, nil, []int{401, 403}},
			"by headers":                     {secrets, remote, []int{401, 403}},
			"by headers, vSphere Namespaces": {"/apis/vsphere.openpacific.io/v1alpha1/namespaces", remote, []int{401, 403}},
			"by headers, besides the token":  {secrets, both, []int{403}},
			"to be the administrator":        {secrets, with2(bearer, "Impersonate-User", "kubernetes-admin"), []int{403}},
			"to be of system:masters": {secrets, with2(with2(bearer, "Impersonate-User", "sso:nobody@vsphere.local"),
				"Impersonate-Group", "system:masters"), []int{403}},
			"to be of a group and nobody": {secrets, with2(bearer, "Impersonate-Group", "system:masters"),
				[]int{400, 403, 500}},
			"to be dev-a": {"/apis/vmoperator.vmware.com/v1alpha5/namespaces/team-a/virtualmachines",
				with2(bearer, "Impersonate-User", "sso:dev-a@vsphere.local"), []int{403}},
			"two tokens": {secrets, http.Header{"Authorization": {"Bearer " + token, "Bearer nonsense"}},
				[]int{400, 401, 403}},
			"a name and a password": {secrets, http.Header{
				"Authorization": {basic("administrator@vsphere.local", "x")}}, []int{401, 403}},
			"a token in the address": {secrets + "?access_token=" + token + "&token=" + token, nil, []int{401, 403}},
			"a cookie": {secrets, http.Header{
				"Cookie": {"session_id=" + token + "; vmware-api-session-id=" + token}}, []int{401, 403}},
			"a protocol of websockets": {secrets, http.Header{
				"Sec-Websocket-Protocol": {"base64url.bearer.authorization.k8s.io." +
					base64.RawURLEncoding.EncodeToString([]byte("nonsense"))}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"},
				"Sec-Websocket-Key": {"x"}, "Sec-Websocket-Version": {"13"}}, []int{401, 403}},
			"the header taken off by another": {secrets, http.Header{"Connection": {"Authorization"},
				"Authorization": {"Bearer nonsense"}}, []int{401, 403}},
		} {
			if code, body := s.knock(t, http.MethodGet, address+try.path, nil, try.header); !slices.Contains(try.want, code) ||
				strings.Contains(body, `"items"`) {
				t.Errorf("%s: %s: %d, want one of %v: %.200s", door, what, code, try.want, body)
			}
		}
	}
}

// TestPathTricks goes to the login and to the API by ways around. No way leads into the API without a token, or to a
// token without a password, and a password goes no further than to the login.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	s := running(t)
	const canary = "canary-of-the-paths-5d1e"
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"} {
		if code, body := s.knock(t, method, s.LoginURL(t)+"/wcp/login", nil,
			http.Header{"Authorization": {basic("path-tricks@vsphere.local", canary)}}); code != http.StatusMethodNotAllowed &&
			!(method == "CONNECT" && code >= 400) {
			t.Errorf("%s /wcp/login: %d %s", method, code, body)
		}
	}
	for _, path := range []string{
		"//wcp/login", "/wcp//login", "/./wcp/login", "/wcp/./login", "/wcp/login/", "/wcp/login/..", "/wcp/login/x",
		"/WCP/login", "/wcp/LOGIN",
		"/wcp%2flogin", "/%77cp/login", "/wcp/login%00", "/wcp/login;x=y", "/wcp/login%3fx", "/wcp/../wcp/login",
		"/wcp/%2e%2e/wcp/login", "/wcp\\login", "/api/../wcp/login",
	} {
		request, body := s.raw(t, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		if request == http.StatusOK || strings.Contains(body, "session_id") {
			t.Errorf("POST %s without a password: %d %s", path, request, body)
		}
		// With one it may be refused, but must not be taken elsewhere.
		_, _ = s.raw(t, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: "+
			basic("path-tricks@vsphere.local", canary)+"\r\nContent-Length: 0\r\n\r\n")
	}
	for _, path := range []string{
		"/wcp/../api/v1/secrets", "/wcp/%2e%2e/api/v1/secrets", "/wcp/..%2fapi/v1/secrets", "/wcp/login/../../api/v1/secrets",
		"//api/v1/secrets", "/api//v1/secrets",
		"/api/v1/namespaces/team-a/../../secrets", "/api/v1/namespaces/%2e%2e/secrets", "/openidconnect/../api/v1/secrets",
		"/.well-known/../api/v1/secrets", "/wcp/loginbanner/../../api/v1/secrets",
	} {
		if code, body := s.raw(t, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); code == http.StatusOK ||
			strings.Contains(body, `"SecretList"`) {
			t.Errorf("GET %s: %d %.200s", path, code, body)
		}
	}
	s.Nowhere(t, canary)
}

// raw writes bytes to the address of logins and reads one answer.
func (s *supervisor) raw(t *testing.T, text string) (int, string) {
	t.Helper()
	answers := s.pipeline(t, text, 1)
	if len(answers) == 0 {
		return 0, ""
	}
	return answers[0].code, answers[0].body
}

type answered struct {
	code int
	body string
}

// pipeline writes bytes to the address of logins and reads at most so many answers. Fewer come when it hangs up.
func (s *supervisor) pipeline(t *testing.T, text string, count int) (answers []answered) {
	t.Helper()
	connection, err := tls.Dial("tcp", strings.TrimPrefix(s.LoginURL(t), "https://"),
		&tls.Config{RootCAs: s.roots(t), MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(connection, text); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(connection)
	for range count {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return answers
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		answers = append(answers, answered{response.StatusCode, string(body)})
	}
	return answers
}

func (s *supervisor) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.Config(t).CAData) {
		t.Fatal("no authority")
	}
	return roots
}

// TestSmuggling sends requests whose end is told in two ways. What is behind it is refused with them, or is a request
// of its own, with credentials of its own and none.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	s := running(t)
	token := s.token(t, "dev-a@vsphere.local", vcentertest.SamplePassword)
	const reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	inner := "GET /api/v1/namespaces/team-a/configmaps HTTP/1.1\r\nHost: localhost\r\n\r\n"
	outer := func(path, lengths, body string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token +
			"\r\nContent-Type: application/json\r\n" + lengths + "\r\n" + body
	}
	chunked := "0\r\n\r\n" + inner
	for what, text := range map[string]string{
		"Content-Length over all, and chunked": outer(reviews,
			fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", len(chunked)), chunked),
		"chunked, and Content-Length over all": outer(reviews,
			fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n", len(chunked)), chunked),
		"Content-Length of 4, and chunked": outer(reviews, "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
			chunked),
		"two lengths": outer(reviews,
			fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n", len(inner)), inner),
		"two lengths in one":   outer(reviews, fmt.Sprintf("Content-Length: 0, %d\r\n", len(inner)), inner),
		"a length with a sign": outer(reviews, "Content-Length: +0\r\n", inner),
		"chunked twice": outer(reviews, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
			chunked),
		"chunked and identity": outer(reviews, "Transfer-Encoding: chunked, identity\r\n", chunked),
		"another coding":       outer(reviews, "Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n", inner),
		"a space before the colon": outer(reviews,
			fmt.Sprintf("Transfer-Encoding : chunked\r\nContent-Length: %d\r\n", len(chunked)), chunked),
		"a folded header": outer(reviews,
			fmt.Sprintf("Transfer-Encoding:\r\n chunked\r\nContent-Length: %d\r\n", len(chunked)), chunked),
		"a tab before the coding": outer(reviews,
			fmt.Sprintf("Transfer-Encoding:\tchunked\r\nContent-Length: %d\r\n", len(chunked)), chunked),
		"a chunk's size of two meanings": outer(reviews, "Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n"+inner),
		"a login around it": outer("/wcp/login",
			fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", len(chunked)), chunked),
	} {
		t.Run(what, func(t *testing.T) {
			answers := s.pipeline(t, text, 2)
			if len(answers) == 0 {
				t.Fatal("no answer")
			}
			for i, answer := range answers {
				if strings.Contains(answer.body, "ConfigMapList") {
					t.Errorf("answer %d is of the request inside: %d %.200s", i, answer.code, answer.body)
				}
			}
			if len(answers) == 2 && answers[1].code < 400 {
				t.Errorf("the request inside was carried out: %d %.200s", answers[1].code, answers[1].body)
			}
		})
	}
	// The request inside is one that is carried out when it comes with the token, and the connection carries two.
	good := "GET /api/v1/namespaces/team-a/configmaps HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token +
		"\r\n\r\n"
	codes := []int{}
	for _, answer := range s.pipeline(t, good+inner, 2) {
		codes = append(codes, answer.code)
	}
	if diff := cmp.Diff([]int{http.StatusOK, http.StatusForbidden}, codes); diff != "" {
		t.Errorf("with the token, and then without (-want +got):\n%s", diff)
	}
}

// TestRefusedWritesHaveAnEnd sends many writes that kube-apiserver refuses before it has read them, by way of the
// address of logins: each answer must come whole.
func TestRefusedWritesHaveAnEnd(t *testing.T) {
	t.Parallel()
	s := running(t)
	token := s.token(t, "viewer@vsphere.local", vcentertest.SamplePassword)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.roots(t), MinVersion: tls.VersionTLS12},
	}}
	defer client.CloseIdleConnections()
	address := s.LoginURL(t) + vnsPath + "/team-a?dryRun=All"
	var writing sync.WaitGroup
	for range 4 {
		writing.Go(func() {
			for i := range 2000 {
				method := []string{http.MethodPatch, http.MethodDelete}[i%2]
				request, err := http.NewRequestWithContext(t.Context(), method, address,
					strings.NewReader(`{"spec":{"description":"mine"}}`))
				if err != nil {
					t.Error(err)
					return
				}
				request.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/merge-patch+json"}}
				response, err := client.Do(request)
				if err == nil {
					_, err = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
				if err != nil || response.StatusCode != http.StatusForbidden {
					t.Errorf("a refused write: %v, %v", response, err)
					return
				}
			}
		})
	}
	writing.Wait()
}

// TestOldTLSIsRefused offers TLS 1.0 and 1.1 at both of the doors.
func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	s := running(t)
	for door, address := range s.doors(t) {
		for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true,
			tls.VersionTLS13: true} {
			connection, err := tls.Dial("tcp", strings.TrimPrefix(address, "https://"),
				&tls.Config{RootCAs: s.roots(t), MinVersion: version, MaxVersion: version})
			if err == nil {
				_ = connection.Close()
			}
			if (err == nil) != want {
				t.Errorf("%s with %s: %v", door, tls.VersionName(version), err)
			}
		}
	}
}
