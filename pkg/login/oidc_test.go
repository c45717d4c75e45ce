// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/login/token"
)

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
}

type bundle []byte

func (b bundle) CurrentCABundleContent() []byte { return b }

// trust makes what kube-apiserver makes of the file: strictly read, validated,
// and with the keys fetched from the service.
func trust(t *testing.T, f *fixture, discoveryURL string) oidc.AuthenticatorTokenWithHealthCheck {
	t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})
	file := AuthenticationConfiguration(f.Tokens.URL, discoveryURL, ca)
	scheme := runtime.NewScheme()
	install.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	object, err := runtime.Decode(codecs.UniversalDecoder(), file)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, file)
	}
	configuration := object.(*apiserver.AuthenticationConfiguration)
	compiler := authenticationcel.NewCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if problems := validation.ValidateAuthenticationConfiguration(compiler, configuration, nil); len(problems) > 0 {
		t.Fatalf("%v in:\n%s", problems, file)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	a, err := oidc.New(ctx, oidc.Options{
		JWTAuthenticator: configuration.JWT[0], CAContentProvider: bundle(configuration.JWT[0].Issuer.CertificateAuthority),
		SupportedSigningAlgs: []string{"RS256", "ES256", "PS256"}, APIServerID: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(30 * time.Second)
	for a.HealthCheck() != nil {
		select {
		case <-deadline:
			t.Fatal(a.HealthCheck())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return a
}

func TestAuthenticationConfiguration(t *testing.T) {
	want := `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: "https://supervisor.test/openidconnect/vsphere.local"
    discoveryURL: "https://127.0.0.1:9443/openidconnect/vsphere.local/.well-known/openid-configuration"
    audiences:
    - "vmware-tes:vc:vns:k8s"
    certificateAuthority: |
      -----BEGIN CERTIFICATE-----
      MIIB
      -----END CERTIFICATE-----
  claimMappings:
    username:
      claim: sub
      prefix: "sso:"
    groups:
      claim: group_names
      prefix: "sso:"
`
	got := AuthenticationConfiguration("https://supervisor.test/openidconnect/vsphere.local",
		"https://127.0.0.1:9443/openidconnect/vsphere.local/.well-known/openid-configuration",
		[]byte("-----BEGIN CERTIFICATE-----\r\nMIIB\n-----END CERTIFICATE-----\n"))
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func session200(t *testing.T, f *fixture) string {
	t.Helper()
	var answer struct {
		Session string `json:"session_id"`
	}
	got := f.login("dev@vsphere.local", rightPassword, "{}")
	if got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	decode(t, got.Body, &answer)
	return answer.Session
}

// What kube-apiserver makes of our tokens, and of those that are not.
func TestKubernetesTrustsTheTokensAndNoOthers(t *testing.T) {
	f := newFixture(t, nil)
	authenticator := trust(t, f, "")
	good := session200(t, f)
	response, ok, err := authenticator.AuthenticateToken(t.Context(), good)
	if err != nil || !ok {
		t.Fatalf("our own token: %v, %v", ok, err)
	}
	want := &user.DefaultInfo{Name: "sso:dev@vsphere.local",
		Groups: []string{"sso:Everyone@vsphere.local", "sso:odd, \"group\" ümlaut@vsphere.local"}}
	got := &user.DefaultInfo{Name: response.User.GetName(), Groups: response.User.GetGroups()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	parts := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	stored, _, err := f.Tokens.Keys.Store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Keys []struct{ PrivateKey []byte }
	}
	decode(t, string(stored), &document)
	parsed, err := x509.ParsePKCS8PrivateKey(document.Keys[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	ours := parsed.(*rsa.PrivateKey)
	kid := f.Tokens.Keys.Public().Keys[0].KeyID
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(algorithm jose.SignatureAlgorithm, key any, change map[string]any) string {
		t.Helper()
		claims := map[string]any{}
		decode(t, string(payload), &claims)
		maps.Copy(claims, change)
		content, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(content)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if _, ok, err := authenticator.AuthenticateToken(t.Context(), sign(jose.RS256, ours, nil)); !ok {
		t.Fatalf("the test's own signature: %v", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&ours.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	confused := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"`+kid+`"}`)) + "." + parts[1]
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	mac.Write([]byte(confused))
	confused += "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))

	// A token that was good eleven hours ago.
	past := clocktesting.NewFakeClock(time.Now().Add(-11 * time.Hour))
	expired, _, err := (&token.Issuer{URL: f.Tokens.URL, Keys: f.Tokens.Keys, Rand: rand.Reader, Clock: past}).
		Issue(token.Subject{Username: "dev", Domain: "vsphere.local"}, token.Audience)
	if err != nil {
		t.Fatal(err)
	}

	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"`+kid+`"}`)) + "." + parts[1] + "."
	for name, text := range map[string]string{
		"forged": sign(jose.RS256, stranger, nil),
		"changed": parts[0] + "." + base64.RawURLEncoding.EncodeToString(
			[]byte(strings.Replace(string(payload), "dev", "ops", 1))) + "." + parts[2],
		"expired":                    expired,
		"alg none":                   none,
		"key confusion":              confused,
		"wrong audience":             sign(jose.RS256, ours, map[string]any{"aud": "vmware-tes:vc:vns:k8s:a-guest"}),
		"wrong issuer":               sign(jose.RS256, ours, map[string]any{"iss": "https://evil.test"}),
		"our key, another algorithm": sign(jose.RS512, ours, nil),
	} {
		t.Run(name, func(t *testing.T) {
			if response, ok, _ := authenticator.AuthenticateToken(t.Context(), text); ok {
				t.Errorf("accepted as %s", response.User.GetName())
			}
		})
	}
	// Not even a signed claim makes a Kubernetes identity.
	response, ok, err = authenticator.AuthenticateToken(t.Context(),
		sign(jose.RS256, ours, map[string]any{"sub": "system:admin", "group_names": []string{"system:masters"}}))
	if err != nil || !ok || response.User.GetName() != "sso:system:admin" ||
		!cmp.Equal(response.User.GetGroups(), []string{"sso:system:masters"}) {
		t.Errorf("without the prefix: %+v, %v, %v", response, ok, err)
	}
}

// A verifier that read the keys before the rotation, when the new one was
// published, accepts what the new one signs, without asking again; one that
// comes after accepts what the old one signed.
func TestKubernetesFollowsARotation(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	f := newFixture(t, func(s *Service) {
		s.Tokens.Keys = &token.Keys{Store: &memory{}, Rand: rand.Reader, Clock: clock, Logger: s.Logger,
			RotateEvery: 4 * time.Hour, PublishAhead: time.Hour}
		if err := s.Tokens.Keys.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	pass := func(d time.Duration, published int) {
		t.Helper()
		clock.Step(d)
		if err := f.Tokens.Keys.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(f.Tokens.Keys.Public().Keys); n != published {
			t.Fatalf("%d keys are published, want %d", n, published)
		}
	}
	accept := func(a oidc.AuthenticatorTokenWithHealthCheck, text, what string) {
		t.Helper()
		if _, ok, err := a.AuthenticateToken(t.Context(), text); !ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	pass(3*time.Hour, 2)
	before := trust(t, f, f.server.URL+"/openidconnect/vsphere.local/.well-known/openid-configuration")
	old := session200(t, f)
	accept(before, old, "the first key")
	pass(time.Hour, 2)
	rotated := session200(t, f)
	if strings.Split(old, ".")[0] == strings.Split(rotated, ".")[0] {
		t.Fatal("the key was not rotated")
	}
	accept(before, rotated, "the second key, seen by who knew it before it signed")
	accept(before, old, "the first key after the rotation")
	accept(trust(t, f, ""), old, "the first key, seen by who came later")
}
