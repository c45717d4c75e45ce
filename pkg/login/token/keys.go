// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // A name for a key, not a proof.
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// MaxLifetime bounds how long a token may be valid, and so how long a key
	// is published after its last signature.
	MaxLifetime = 24 * time.Hour
	// skew is how far the clocks of those who verify may be apart from ours.
	skew = 10 * time.Minute

	defaultRotateEvery  = 30 * 24 * time.Hour
	defaultPublishAhead = time.Hour
	syncEvery           = time.Minute
	keyBits             = 2048
)

// Keys are the signing keys. Their methods may be called at the same time;
// nothing is signed before the first Sync.
type Keys struct {
	Store Store
	// RotateEvery is how long a key signs. Zero: 30 days.
	RotateEvery time.Duration
	// PublishAhead is how long a key is published before it signs: longer than
	// those who verify remember the key set. Zero: 1 h.
	PublishAhead time.Duration

	Rand   io.Reader
	Clock  clock.WithTicker
	Logger klog.Logger

	current atomic.Pointer[[]key]
}

// key is one key, immutable.
type key struct {
	id        string
	notBefore time.Time
	private   *rsa.PrivateKey
}

// document is what a Store keeps.
type document struct {
	Version int         `json:"version"`
	Keys    []storedKey `json:"keys"`
}

type storedKey struct {
	NotBefore time.Time `json:"notBefore"`
	// PrivateKey is PKCS #8.
	PrivateKey []byte `json:"privateKey"`
}

// Run keeps the keys in step with the store, and rotates them, until ctx ends.
func (k *Keys) Run(ctx context.Context) error {
	said := ""
	retry := newRetry()
	for {
		delay := syncEvery
		err := k.Sync(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if text := err.Error(); text != said {
				said = text
				k.Logger.Error(err, "Could not read or rotate the signing keys; those that are known stay in use")
			}
			delay = min(retry.Step(), syncEvery)
		default:
			said, retry = "", newRetry()
		}
		timer := k.Clock.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
		}
	}
}

func newRetry() *wait.Backoff {
	return &wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.3, Steps: 100, Cap: time.Minute}
}

// Sync reads the keys from the store, makes, rotates and removes what is due,
// and uses what is stored then.
func (k *Keys) Sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for range 5 {
		data, version, err := k.Store.Load(ctx)
		if err != nil {
			return fmt.Errorf("load the signing keys: %w", err)
		}
		keys, err := decode(data)
		if err != nil {
			return err
		}
		if stored := keys; len(stored) > 0 {
			k.current.Store(&stored) // whether or not this server may change them
		}
		keys, changed, err := k.plan(keys)
		if err != nil {
			return err
		}
		if !changed {
			return nil
		}
		data, err = encode(keys)
		if err != nil {
			return err
		}
		err = k.Store.Save(ctx, data, version)
		if err == nil {
			k.current.Store(&keys)
			k.Logger.Info("Signing keys changed", "keys", ids(keys))
			return nil
		}
		if !errors.Is(err, failure.Conflict) {
			return fmt.Errorf("save the signing keys: %w", err)
		}
		// Another server was faster: its keys are as good.
	}
	return fmt.Errorf("save the signing keys: others keep changing them: %w", failure.Conflict)
}

// plan returns the keys that there ought to be now.
func (k *Keys) plan(keys []key) (planned []key, changed bool, err error) {
	rotate, ahead := k.RotateEvery, k.PublishAhead
	if rotate <= 0 {
		rotate = defaultRotateEvery
	}
	if ahead <= 0 {
		ahead = defaultPublishAhead
	}
	ahead = min(ahead, rotate/2)
	now := k.Clock.Now().UTC().Truncate(time.Second)

	var due time.Time
	switch {
	case len(keys) == 0:
		due = now
	default:
		next := keys[len(keys)-1].notBefore.Add(rotate)
		if now.Add(ahead).Before(next) {
			break
		}
		due = next
		if earliest := now.Add(ahead); due.Before(earliest) {
			due = earliest
		}
	}
	planned = slices.Clone(keys)
	if !due.IsZero() {
		private, err := rsa.GenerateKey(k.Rand, keyBits)
		if err != nil {
			return nil, false, fmt.Errorf("make a signing key: %w", err)
		}
		made, err := newKey(private, due)
		if err != nil {
			return nil, false, err
		}
		planned, changed = append(planned, made), true
	}
	for len(planned) > 1 && planned[1].notBefore.Add(MaxLifetime+skew).Before(now) {
		planned, changed = planned[1:], true
	}
	return planned, changed, nil
}

// newKey names a key as certificates are named by their thumbprint: 40 upper
// case hexadecimal digits.
func newKey(private *rsa.PrivateKey, notBefore time.Time) (key, error) {
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return key{}, fmt.Errorf("encode a public key: %w", err)
	}
	sum := sha1.Sum(public) //nolint:gosec // See the import.
	return key{id: strings.ToUpper(hex.EncodeToString(sum[:])), notBefore: notBefore, private: private}, nil
}

func decode(data []byte) ([]key, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var stored document
	// The parser's error is left out since it may quote a key.
	if json.Unmarshal(data, &stored) != nil || stored.Version != 1 {
		return nil, errors.New("the stored signing keys are not in a form that this version knows: they are left as they " +
			"are; remove them to have new ones made, which ends every login")
	}
	keys := make([]key, 0, len(stored.Keys))
	for _, s := range stored.Keys {
		parsed, err := x509.ParsePKCS8PrivateKey(s.PrivateKey)
		private, ok := parsed.(*rsa.PrivateKey)
		if err != nil || !ok || private.N.BitLen() < keyBits {
			return nil, fmt.Errorf("one of the stored signing keys is not an RSA key of at least %d bits: "+
				"they are left as they are", keyBits)
		}
		made, err := newKey(private, s.NotBefore)
		if err != nil {
			return nil, err
		}
		keys = append(keys, made)
	}
	slices.SortStableFunc(keys, func(a, b key) int { return a.notBefore.Compare(b.notBefore) })
	return keys, nil
}

func encode(keys []key) ([]byte, error) {
	stored := document{Version: 1}
	for _, k := range keys {
		private, err := x509.MarshalPKCS8PrivateKey(k.private)
		if err != nil {
			return nil, fmt.Errorf("encode a signing key: %w", err)
		}
		stored.Keys = append(stored.Keys, storedKey{NotBefore: k.notBefore, PrivateKey: private})
	}
	return json.Marshal(stored)
}

func ids(keys []key) []string {
	var all []string
	for _, k := range keys {
		all = append(all, k.id)
	}
	return all
}

func (k *Keys) all() []key {
	if keys := k.current.Load(); keys != nil {
		return *keys
	}
	return nil
}

// signer returns the key that signs now.
func (k *Keys) signer() (key, error) {
	keys, now := k.all(), k.Clock.Now()
	for _, candidate := range slices.Backward(keys) {
		if !candidate.notBefore.After(now) {
			return candidate, nil
		}
	}
	if len(keys) > 0 {
		// The clock went back to before the first key.
		return keys[0], nil
	}
	return key{}, fmt.Errorf("the signing keys are not loaded yet: %w", failure.Unavailable)
}

// Ready returns why nothing can be signed, nil when it can.
func (k *Keys) Ready() error {
	_, err := k.signer()
	return err
}

// Public returns the key set that verifies tokens.
func (k *Keys) Public() jose.JSONWebKeySet {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, key := range k.all() {
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key: &key.private.PublicKey, KeyID: key.id, Algorithm: string(jose.RS256), Use: "sig",
		})
	}
	return set
}
