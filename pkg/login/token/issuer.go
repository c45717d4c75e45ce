// SPDX-License-Identifier: Apache-2.0

package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
)

// Audience is that of a Supervisor's own token. A guest cluster's is this, a
// colon and the cluster's uid.
const Audience = "vmware-tes:vc:vns:k8s"

// DefaultLifetime is how long a Supervisor's token is valid.
const DefaultLifetime = 10 * time.Hour

// Claims are what a token says, as a Supervisor's does.
type Claims struct {
	Subject  string   `json:"sub"` // username@domain
	Audience string   `json:"aud"`
	Domain   string   `json:"domain"`
	Username string   `json:"username"`
	Issuer   string   `json:"iss"`
	Groups   []string `json:"group_names"` // name@domain
	Expires  int64    `json:"exp"`         // Unix time
	IssuedAt int64    `json:"iat"`         // Unix time
	ID       string   `json:"jti"`
}

// Subject is who a token is for.
type Subject struct {
	Username, Domain string
	Groups           []string
}

// Issuer makes tokens.
type Issuer struct {
	// URL is the iss of every token, below which those who verify find the
	// discovery document. It must not end with a slash.
	URL string
	// Lifetime is how long a token is valid, at most MaxLifetime. Zero: 10 h.
	Lifetime time.Duration
	Keys     *Keys
	Rand     io.Reader
	Clock    clock.PassiveClock
}

// Issue makes a token for subject.
func (i *Issuer) Issue(subject Subject, audience string) (string, Claims, error) {
	if subject.Username == "" || subject.Domain == "" {
		// A prefix before nothing is a user to Kubernetes.
		return "", Claims{}, errors.New("issue a token: its subject has no name")
	}
	lifetime := i.Lifetime
	if lifetime <= 0 {
		lifetime = DefaultLifetime
	}
	lifetime = min(lifetime, MaxLifetime)
	signing, err := i.Keys.signer()
	if err != nil {
		return "", Claims{}, fmt.Errorf("issue a token: %w", err)
	}
	id, err := uuid.NewRandomFromReader(i.Rand)
	if err != nil {
		return "", Claims{}, fmt.Errorf("issue a token: %w", err)
	}
	now := i.Clock.Now()
	claims := Claims{
		Subject: subject.Username + "@" + subject.Domain, Audience: audience, Domain: subject.Domain,
		Username: subject.Username,
		Issuer:   i.URL, Groups: append([]string{}, subject.Groups...),
		Expires: now.Add(lifetime).Unix(), IssuedAt: now.Unix(), ID: id.String(),
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", Claims{}, fmt.Errorf("issue a token: %w", err)
	}
	key := jose.JSONWebKey{Key: signing.private, KeyID: signing.id}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, nil)
	if err != nil {
		return "", Claims{}, fmt.Errorf("issue a token: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", Claims{}, fmt.Errorf("sign a token: %w", err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return "", Claims{}, fmt.Errorf("sign a token: %w", err)
	}
	return text, claims, nil
}

// Verify returns what a token says, provided that one of the keys signed it with
// RS256, for this issuer and that audience, and that it has not expired. The
// error wraps failure.Unauthenticated and never holds the token.
func (i *Issuer) Verify(text, audience string) (Claims, error) {
	refuse := func(reason string) (Claims, error) {
		return Claims{}, fmt.Errorf("%s: %w", reason, failure.Unauthenticated)
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || len(signed.Signatures) != 1 {
		return refuse("the token is not a JWT with one RS256 signature")
	}
	// The key is ours, found by name; whatever key or address the header brings
	// along is not looked at.
	keys := i.Keys.Public()
	candidates := keys.Key(signed.Signatures[0].Protected.KeyID)
	if len(candidates) != 1 {
		return refuse("the token is signed with an unknown key")
	}
	payload, err := signed.Verify(candidates[0])
	if err != nil {
		return refuse("the token's signature is wrong")
	}
	var claims Claims
	decoder := json.NewDecoder(bytes.NewReader(payload))
	if err := decoder.Decode(&claims); err != nil || !errors.Is(onlySpace(decoder), io.EOF) {
		return refuse("the token's claims are not readable")
	}
	now := i.Clock.Now()
	switch {
	case claims.Issuer != i.URL:
		return refuse("the token is another issuer's")
	case claims.Audience != audience:
		return refuse("the token is for another audience")
	case !now.Before(time.Unix(claims.Expires, 0)):
		return refuse("the token has expired")
	case now.Add(skew).Before(time.Unix(claims.IssuedAt, 0)):
		return refuse("the token is from the future")
	}
	return claims, nil
}

// onlySpace returns io.EOF when nothing follows.
func onlySpace(decoder *json.Decoder) error {
	_, err := decoder.Token()
	return err
}
