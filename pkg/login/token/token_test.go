// SPDX-License-Identifier: Apache-2.0

package token

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/failure"
)

const issuerURL = "https://supervisor.test/openidconnect/vsphere.local"

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func quiet() klog.Logger {
	return textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(new(strings.Builder))))
}

// memory is a Store that holds the keys as the ledger does, and is gone with the test.
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
	clock  *clocktesting.FakeClock
	keys   *Keys
	issuer *Issuer
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	clock := clocktesting.NewFakeClock(begin)
	keys := &Keys{Store: &memory{}, Rand: rand.Reader, Clock: clock, Logger: quiet()}
	f := fixture{t, clock, keys, &Issuer{URL: issuerURL, Keys: keys, Rand: rand.Reader, Clock: clock}}
	f.sync()
	return f
}

func (f fixture) sync() {
	f.Helper()
	if err := f.keys.Sync(f.Context()); err != nil {
		f.Fatal(err)
	}
}

func (f fixture) issue() (string, Claims) {
	f.Helper()
	text, claims, err := f.issuer.Issue(Subject{Username: "Administrator", Domain: "vsphere.local",
		Groups: []string{"Administrators@vsphere.local"}}, Audience)
	if err != nil {
		f.Fatal(err)
	}
	return text, claims
}

func part(t *testing.T, text string, n int) map[string]any {
	t.Helper()
	content, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[n])
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(content, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// The claims are those of a token that was decoded from a real Supervisor.
func TestTheTokenIsASupervisors(t *testing.T) {
	f := newFixture(t)
	text, claims := f.issue()
	want := map[string]any{
		"sub": "Administrator@vsphere.local", "aud": "vmware-tes:vc:vns:k8s", "domain": "vsphere.local",
		"username": "Administrator",
		"iss":      issuerURL, "group_names": []any{"Administrators@vsphere.local"},
		"exp": float64(begin.Unix() + 36000), "iat": float64(begin.Unix()), "jti": claims.ID,
	}
	if diff := cmp.Diff(want, part(t, text, 1)); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	header := part(t, text, 0)
	if kid, _ := header["kid"].(string); !regexp.MustCompile(`^[0-9A-F]{40}$`).MatchString(kid) {
		t.Errorf("kid %q", kid)
	}
	if diff := cmp.Diff(map[string]any{"alg": "RS256"}, header,
		cmpopts.IgnoreMapEntries(func(key string, _ any) bool { return key == "kid" })); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	got, err := f.issuer.Verify(text, Audience)
	if diff := cmp.Diff(claims, got); err != nil || diff != "" {
		t.Errorf("verified: %v (-want +got):\n%s", err, diff)
	}
	if other, _ := f.issue(); other == text {
		t.Error("two tokens are the same")
	}
	nobody, _, err := f.issuer.Issue(Subject{Username: "nobody", Domain: "vsphere.local"}, Audience)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []Subject{{}, {Username: "x"}, {Domain: "x"}} {
		if _, _, err := f.issuer.Issue(subject, Audience); err == nil {
			t.Errorf("a token for %+v", subject)
		}
	}
	if groups, ok := part(t, nobody, 1)["group_names"].([]any); !ok || len(groups) != 0 {
		t.Error("a user without groups has no empty list of them")
	}
}

func b64(content string) string { return base64.RawURLEncoding.EncodeToString([]byte(content)) }

func TestAttacksOnTokens(t *testing.T) {
	f := newFixture(t)
	good, _ := f.issue()
	header, payload, signature := strings.Split(good, ".")[0], strings.Split(good, ".")[1], strings.Split(good, ".")[2]
	kid := part(t, good, 0)["kid"].(string)

	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key *rsa.PrivateKey, kid string, change map[string]any) string {
		t.Helper()
		claims := part(t, good, 1)
		maps.Copy(claims, change)
		content, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
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
	ours := f.keys.all()[0].private
	if _, err := f.issuer.Verify(sign(ours, kid, nil), Audience); err != nil {
		t.Fatalf("the test's own signature: %v", err)
	}

	hs256 := func(secret []byte) string {
		signed := b64(`{"alg":"HS256","kid":"`+kid+`"}`) + "." + payload
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signed))
		return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	public, err := x509.MarshalPKIXPublicKey(&ours.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	embedded, err := json.Marshal(jose.JSONWebKey{Key: &stranger.PublicKey, KeyID: kid})
	if err != nil {
		t.Fatal(err)
	}
	forged := sign(stranger, kid, nil)

	tests := map[string]string{
		"forged with another key":     forged,
		"forged under another name":   sign(stranger, "0123", nil),
		"an unknown key that is ours": sign(ours, "0123", nil),
		"no key name":                 sign(ours, "", nil),
		"alg none":                    b64(`{"alg":"none"}`) + "." + payload + ".",
		"alg None":                    b64(`{"alg":"None","kid":"`+kid+`"}`) + "." + payload + ".",
		"alg none with a signature":   b64(`{"alg":"none","kid":"`+kid+`"}`) + "." + payload + "." + signature,
		"no signature":                header + "." + payload + ".",
		"key confusion with the PEM":  hs256(publicPEM),
		"key confusion with the DER":  hs256(public),
		"a key in the header": b64(`{"alg":"RS256","kid":"`+kid+`","jwk":`+string(embedded)+`}`) + "." +
			strings.SplitN(forged, ".", 2)[1],
		"an address of keys in the header": b64(`{"alg":"RS256","kid":"`+kid+`","jku":"https://evil.test/jwks"}`) + "." +
			strings.SplitN(forged, ".", 2)[1],
		"a critical header": b64(`{"alg":"RS256","kid":"`+kid+`","crit":["x"],"x":1}`) + "." + payload +
			"." + signature,
		"another subject, the old signature": header + "." + b64(`{"sub":"Administrator@vsphere.local"}`) + "." + signature,
		"expired":                            sign(ours, kid, map[string]any{"exp": begin.Unix()}),
		"never expires":                      sign(ours, kid, map[string]any{"exp": nil}),
		"from the future":                    sign(ours, kid, map[string]any{"iat": begin.Add(time.Hour).Unix()}),
		"wrong audience":                     sign(ours, kid, map[string]any{"aud": Audience + ":some-guest-cluster"}),
		"several audiences":                  sign(ours, kid, map[string]any{"aud": []string{Audience, "other"}}),
		"wrong issuer": sign(ours, kid,
			map[string]any{"iss": "https://evil.test/openidconnect/vsphere.local"}),
		"no issuer":  sign(ours, kid, map[string]any{"iss": nil}),
		"encrypted":  good + ".x.y",
		"nothing":    "",
		"not base64": "%.%.%",
		"the JSON serialization": `{"payload":"` + payload + `","protected":"` + header + `","signature":"` +
			signature + `"}`,
		"a line break": good + "\n.",
		"the payload of one, the signature of another": strings.Join(
			[]string{header, strings.Split(forged, ".")[1] + "A", signature}, "."),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := f.issuer.Verify(text, Audience)
			if !errors.Is(err, failure.Unauthenticated) {
				t.Fatalf("not refused: %v", err)
			}
			if len(text) > 20 && strings.Contains(err.Error(), text) {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
	f.clock.Step(10*time.Hour - time.Second)
	if _, err := f.issuer.Verify(good, Audience); err != nil {
		t.Errorf("at the last second: %v", err)
	}
	f.clock.Step(time.Second)
	if _, err := f.issuer.Verify(good, Audience); err == nil {
		t.Error("valid after its time")
	}
}

func (f fixture) published() []string {
	var all []string
	for _, k := range f.keys.Public().Keys {
		if !k.IsPublic() || k.Algorithm != "RS256" || k.Use != "sig" {
			f.Errorf("published: %+v", k)
		}
		all = append(all, k.KeyID)
	}
	return all
}

func (f fixture) signing() string {
	f.Helper()
	text, _ := f.issue()
	return part(f.T, text, 0)["kid"].(string)
}

func TestRotationOverlaps(t *testing.T) {
	f := newFixture(t)
	f.keys.RotateEvery, f.keys.PublishAhead = 10*24*time.Hour, 2*time.Hour
	first := f.signing()
	if diff := cmp.Diff([]string{first}, f.published()); diff != "" {
		t.Fatalf("at the start (-want +got):\n%s", diff)
	}
	// A restart makes no new key.
	f.keys.current.Store(nil)
	if err := f.keys.Ready(); !errors.Is(err, failure.Unavailable) {
		t.Errorf("ready without keys: %v", err)
	}
	f.sync()
	if got := f.signing(); got != first {
		t.Errorf("after a restart %s signs, not %s", got, first)
	}

	// Every half hour of twelve days: a key is published for two hours before it
	// signs, and a token is valid until it expires.
	appeared := map[string]time.Time{first: begin}
	type signed struct {
		text  string
		until time.Time
	}
	var tokens []signed
	signers := map[string]bool{}
	for f.clock.Since(begin) < 12*24*time.Hour {
		f.clock.Step(30 * time.Minute)
		f.sync()
		for _, id := range f.published() {
			if _, known := appeared[id]; !known {
				appeared[id] = f.clock.Now()
			}
		}
		text, claims := f.issue()
		kid := part(t, text, 0)["kid"].(string)
		if !signers[kid] && kid != first && f.clock.Since(appeared[kid]) < 90*time.Minute {
			t.Errorf("a key signs %s after it was published", f.clock.Since(appeared[kid]))
		}
		signers[kid] = true
		tokens = append(tokens, signed{text, time.Unix(claims.Expires, 0)})
		for len(tokens) > 0 && !f.clock.Now().Before(tokens[0].until) {
			tokens = tokens[1:]
		}
		if _, err := f.issuer.Verify(tokens[0].text, Audience); err != nil {
			t.Fatalf("a token that has not expired: %v", err)
		}
	}
	if len(signers) != 2 || len(f.published()) != 1 || f.published()[0] == first {
		t.Errorf("%d keys signed, published are %v", len(signers), f.published())
	}
	// After a long pause the old key signs until the new one is known.
	f.clock.Step(300 * 24 * time.Hour)
	old := f.signing()
	f.sync()
	if got := f.signing(); got != old || len(f.published()) != 2 {
		t.Errorf("after a pause %s signs, published are %v", got, f.published())
	}
}

// conflicting is a store that another server writes to first.
type conflicting struct {
	Store
	first func()
}

func (c *conflicting) Save(ctx context.Context, data []byte, version string) error {
	if c.first != nil {
		first := c.first
		c.first = nil
		first()
	}
	return c.Store.Save(ctx, data, version)
}

func TestTwoServersStartAtOnce(t *testing.T) {
	clock := clocktesting.NewFakeClock(begin)
	store := &memory{}
	other := &Keys{Store: store, Rand: rand.Reader, Clock: clock, Logger: quiet()}
	mine := &Keys{Rand: rand.Reader, Clock: clock, Logger: quiet(), Store: &conflicting{Store: store, first: func() {
		if err := other.Sync(t.Context()); err != nil {
			t.Error(err)
		}
	}}}
	if err := mine.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ids(other.all()), ids(mine.all())); diff != "" || len(mine.all()) != 1 {
		t.Errorf("keys (-other +mine):\n%s", diff)
	}
}

func TestStoredKeysThatCannotBeReadAreKept(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakDER, err := x509.MarshalPKCS8PrivateKey(weak)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"of a later version": `{"version":2,"keys":[]}`,
		"not JSON":           "s3cret-k3y-material",
		"not a key":          `{"version":1,"keys":[{"notBefore":"2026-01-01T00:00:00Z","privateKey":"c2VjcmV0"}]}`,
		"a weak key": fmt.Sprintf(`{"version":1,"keys":[{"notBefore":"2026-01-01T00:00:00Z","privateKey":%q}]}`,
			base64.StdEncoding.EncodeToString(weakDER)),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			store := f.keys.Store.(*memory)
			if _, version, err := store.Load(t.Context()); err != nil {
				t.Fatal(err)
			} else if err := store.Save(t.Context(), []byte(content), version); err != nil {
				t.Fatal(err)
			}
			before := f.signing()
			err := f.keys.Sync(t.Context())
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %v", err)
			}
			if now, _, _ := store.Load(t.Context()); string(now) != content {
				t.Errorf("the store holds %q now", now)
			}
			if f.signing() != before {
				t.Error("the known key is no longer used")
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	f := newFixture(t)
	f.keys.current.Store(nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.keys.Run(ctx) }()
	deadline := time.After(20 * time.Second)
	for f.keys.Ready() != nil || !f.clock.HasWaiters() {
		select {
		case <-deadline:
			t.Fatal("the keys are not loaded")
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
