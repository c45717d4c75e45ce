// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// doors are the two addresses at which the Kubernetes API is reached.
func (s *supervisor) doors(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{"kube-apiserver": s.Config(t).Host, "the address of logins": s.LoginURL(t)}
}

// knock sends a request as a stranger would, and returns the answer's code and body.
func (s *supervisor) knock(t *testing.T, method, url string, body []byte, header http.Header) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(request.Header, header)
	response, err := supervisortest.Anonymous(t, s.Config(t)).Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return response.StatusCode, string(answer)
}

// basic is the header of Basic authentication.
func basic(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
}

// token logs in without the plugin.
func (s *supervisor) token(t *testing.T, username, password string) string {
	t.Helper()
	code, body := s.knock(t, http.MethodPost, s.LoginURL(t)+"/wcp/login", nil,
		http.Header{"Authorization": {basic(username, password)}})
	var session struct {
		ID string `json:"session_id"`
	}
	if err := json.Unmarshal([]byte(body), &session); err != nil || code != http.StatusOK || session.ID == "" {
		t.Fatalf("login of %s: %d %s", username, code, body)
	}
	return session.ID
}

// whoami asks the Kubernetes API at an address who one is to it.
func (s *supervisor) whoami(t *testing.T, address string, header http.Header) (int, *authenticationv1.UserInfo) {
	t.Helper()
	header = header.Clone()
	header.Set("Content-Type", "application/json")
	question := `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`
	code, body := s.knock(t, http.MethodPost, address+"/apis/authentication.k8s.io/v1/selfsubjectreviews",
		[]byte(question), header)
	var review authenticationv1.SelfSubjectReview
	if code == http.StatusCreated {
		if err := json.Unmarshal([]byte(body), &review); err != nil {
			t.Fatal(err)
		}
	}
	return code, &review.Status.UserInfo
}

// part is a part of a token.
func part(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // of a map of strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// forger makes tokens out of a good one.
type forger struct {
	t              *testing.T
	header, claims map[string]any
	signature      string
	key            *rsa.PrivateKey // not the service's
}

func newForger(t *testing.T, good string) *forger {
	t.Helper()
	f := &forger{t: t}
	parts := strings.Split(good, ".")
	f.signature = parts[2]
	for i, into := range []*map[string]any{&f.header, &f.claims} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if f.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	return f
}

// with returns a copy with changes; a nil takes a member away.
func with(original, changes map[string]any) map[string]any {
	changed := maps.Clone(original)
	for name, value := range changes {
		if changed[name] = value; value == nil {
			delete(changed, name)
		}
	}
	return changed
}

// rs256 signs with the forger's own key.
func (f *forger) rs256(header, claims map[string]any) string {
	f.t.Helper()
	content := part(with(f.header, header)) + "." + part(with(f.claims, claims))
	sum := sha256.Sum256([]byte(content))
	signature, err := rsa.SignPKCS1v15(rand.Reader, f.key, crypto.SHA256, sum[:])
	if err != nil {
		f.t.Fatal(err)
	}
	return content + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// hs256 signs with a secret.
func (f *forger) hs256(secret []byte) string {
	content := part(with(f.header, map[string]any{"alg": "HS256"})) + "." + part(f.claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(content))
	return content + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// jwk is a public key as it is published.
func jwk(key *rsa.PublicKey, kid any) map[string]any {
	return map[string]any{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
}

// published is the key of that id that the login service publishes, and the document that it stands in.
func (s *supervisor) published(t *testing.T, kid any) (*rsa.PublicKey, []byte) {
	t.Helper()
	code, body := s.knock(t, http.MethodGet, s.LoginURL(t)+"/openidconnect/vsphere.local/.well-known/openid-configuration",
		nil, nil)
	var discovery struct {
		Keys string `json:"jwks_uri"`
	}
	if err := json.Unmarshal([]byte(body), &discovery); err != nil || code != http.StatusOK {
		t.Fatalf("discovery: %d %s", code, body)
	}
	code, body = s.knock(t, http.MethodGet, discovery.Keys, nil, nil)
	var set struct {
		Keys []struct{ Kid, N, E string }
	}
	if err := json.Unmarshal([]byte(body), &set); err != nil || code != http.StatusOK {
		t.Fatalf("keys: %d %s", code, body)
	}
	for _, key := range set.Keys {
		if key.Kid != kid {
			continue
		}
		n, err := base64.RawURLEncoding.DecodeString(key.N)
		if err != nil {
			t.Fatal(err)
		}
		e, err := base64.RawURLEncoding.DecodeString(key.E)
		if err != nil {
			t.Fatal(err)
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, []byte(body)
	}
	t.Fatalf("the key %v is not published: %s", kid, body)
	return nil, nil
}

// TestForgedTokensAreRefused shows tokens that the login service did not issue at both of the doors. Those that need
// its key are tried where that can be had: in package login.
func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	s := running(t)
	good := s.token(t, "dev-a@vsphere.local", vcentertest.SamplePassword)
	f := newForger(t, good)
	public, document := s.published(t, f.header["kid"])
	pkix, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	parts := strings.Split(good, ".")
	tampered := func(changes map[string]any) string {
		return parts[0] + "." + part(with(f.claims, changes)) + "." + parts[2]
	}
	unsigned := func(algorithm any) string {
		return part(with(f.header, map[string]any{"alg": algorithm})) + "." + parts[1] + "."
	}
	// Wherever it points, nobody is to go there: what it names would say that the forger's key is good.
	elsewhere := "https://127.0.0.1:1/keys"
	tokens := map[string]string{
		"signed by a key of the same id":     f.rs256(nil, nil),
		"signed by an unknown key":           f.rs256(map[string]any{"kid": "mine"}, nil),
		"signed by a key without an id":      f.rs256(map[string]any{"kid": nil}, nil),
		"an id that is a path":               f.rs256(map[string]any{"kid": "../../../dev/null"}, nil),
		"expired":                            f.rs256(nil, map[string]any{"iat": now - 7200, "exp": now - 3600}),
		"expired, by tampering":              tampered(map[string]any{"exp": now - 3600}),
		"good for longer, by tampering":      tampered(map[string]any{"exp": now + 1e9}),
		"not valid yet":                      f.rs256(nil, map[string]any{"nbf": now + 3600}),
		"issued in the future":               f.rs256(nil, map[string]any{"iat": now + 3600, "exp": now + 7200}),
		"for another audience":               f.rs256(nil, map[string]any{"aud": "vmware-tes:vc:vns:k8s:a-guest"}),
		"for another audience, by tampering": tampered(map[string]any{"aud": "vmware-tes:vc:vns:k8s:a-guest"}),
		"for no audience":                    f.rs256(nil, map[string]any{"aud": nil}),
		"of another issuer":                  f.rs256(nil, map[string]any{"iss": "https://login.example.com"}),
		"of another issuer, by tampering":    tampered(map[string]any{"iss": "https://login.example.com"}),
		"of the cluster's own issuer": f.rs256(nil, map[string]any{
			"iss": "https://kubernetes.default.svc.cluster.local"}),
		"somebody else, by tampering": tampered(map[string]any{"sub": "administrator@vsphere.local"}),
		"more groups, by tampering": tampered(map[string]any{
			"group_names": []string{"Administrators@vsphere.local", "system:masters"}}),
		"nobody at all":               f.rs256(nil, map[string]any{"sub": nil}),
		"nobody at all, by tampering": tampered(map[string]any{"sub": nil}),
		"HS256 with the PKIX key":     f.hs256(pkix),
		"HS256 with the PEM key":      f.hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})),
		"HS256 with the PKCS #1 key": f.hs256(pem.EncodeToMemory(
			&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(public)})),
		"HS256 with the modulus":              f.hs256(public.N.Bytes()),
		"HS256 with the document of the keys": f.hs256(document),
		"HS256 with an empty secret":          f.hs256(nil),
		"its key in the header":               f.rs256(map[string]any{"jwk": jwk(&f.key.PublicKey, f.header["kid"])}, nil),
		"its key in the header, and no id":    f.rs256(map[string]any{"kid": nil, "jwk": jwk(&f.key.PublicKey, nil)}, nil),
		"its key elsewhere (jku)":             f.rs256(map[string]any{"jku": elsewhere}, nil),
		"its certificate elsewhere (x5u)":     f.rs256(map[string]any{"x5u": elsewhere}, nil),
		"its certificate in the header (x5c)": f.rs256(map[string]any{
			"x5c": []string{base64.StdEncoding.EncodeToString(selfSigned(t, "key").Certificate[0])}}, nil),
		"an unknown critical header": f.rs256(map[string]any{"crit": []string{"x"}, "x": 1}, nil),
		"a signature of nothing": parts[0] + "." + parts[1] + "." +
			base64.RawURLEncoding.EncodeToString(make([]byte, 256)),
		"without its signature":         parts[0] + "." + parts[1] + ".",
		"with two parts":                parts[0] + "." + parts[1],
		"with four parts":               good + "." + parts[2],
		"cut short":                     good[:len(good)-4],
		"another signature's first bit": flipped(good),
	}
	for _, algorithm := range []any{"none", "None", "NONE", "nOnE", "", nil, "none ", "RS256none"} {
		tokens[fmt.Sprintf("alg %q", algorithm)] = unsigned(algorithm)
		tokens[fmt.Sprintf("alg %q, with the signature", algorithm)] = unsigned(algorithm) + parts[2]
	}
	for door, address := range s.doors(t) {
		if code, user := s.whoami(t, address, http.Header{"Authorization": {"Bearer " + good}}); code != http.StatusCreated ||
			user.Username != "sso:dev-a@vsphere.local" {
			t.Fatalf("%s: the good token: %d, %s", door, code, user)
		}
		for _, name := range slices.Sorted(maps.Keys(tokens)) {
			if code, user := s.whoami(t, address, http.Header{"Authorization": {"Bearer " +
				tokens[name]}}); code != http.StatusUnauthorized {
				t.Errorf("%s: a token %s: %d, as %s", door, name, code, user)
			}
		}
	}
	// It has been good all the while.
	for door, address := range s.doors(t) {
		if code, _ := s.whoami(t, address, http.Header{"Authorization": {"Bearer " + good}}); code != http.StatusCreated {
			t.Errorf("%s: the good token afterwards: %d", door, code)
		}
	}
}

// flipped is a token whose signature has another first bit.
func flipped(good string) string {
	at := strings.LastIndexByte(good, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(good[at:])
	if err != nil {
		panic(err) // of a good one
	}
	signature[0] ^= 0x80
	return good[:at] + base64.RawURLEncoding.EncodeToString(signature)
}

// TestNamesOfKubernetesAreNoRights makes users and groups in single sign-on that are called as Kubernetes' own.
func TestNamesOfKubernetesAreNoRights(t *testing.T) {
	t.Parallel()
	s := running(t)
	d := s.directory(t)
	ctx := t.Context()
	groups := []string{"system:masters", "system:authenticated", "sso:Administrators", "system:serviceaccounts"}
	// A colon ends the name in Basic authentication, so no user has one.
	for _, user := range []string{"kubernetes-admin", "system"} {
		d.user(user)
	}
	for _, group := range groups {
		d.group(group)
		d.done(d.AddUsersToGroup(ctx, group, principal("kubernetes-admin"), principal("system")))
	}
	for _, user := range []string{"kubernetes-admin", "system"} {
		name := user + "@vsphere.local"
		token := s.token(t, name, vcentertest.SamplePassword)
		for door, address := range s.doors(t) {
			code, got := s.whoami(t, address, http.Header{"Authorization": {"Bearer " + token}})
			slices.Sort(got.Groups)
			want := []string{
				"sso:Everyone@vsphere.local", "sso:sso:Administrators@vsphere.local", "sso:system:authenticated@vsphere.local",
				"sso:system:masters@vsphere.local",
				"sso:system:serviceaccounts@vsphere.local", "system:authenticated",
			}
			if diff := cmp.Diff(want, got.Groups); code != http.StatusCreated || got.Username != "sso:"+name || diff != "" {
				t.Errorf("%s: %d, %q, groups (-want +got):\n%s", door, code, got.Username, diff)
			}
			config := &rest.Config{Host: address, QPS: -1, BearerToken: token,
				TLSClientConfig: rest.TLSClientConfig{CAData: s.Config(t).CAData}}
			core := kubernetes.NewForConfigOrDie(config).CoreV1()
			if _, err := core.Namespaces().List(ctx, metav1.ListOptions{}); err == nil {
				t.Errorf("%s: %s lists namespaces", door, name)
			}
			if _, err := core.Secrets("kube-system").List(ctx, metav1.ListOptions{}); err == nil {
				t.Errorf("%s: %s lists secrets", door, name)
			}
		}
	}
}
