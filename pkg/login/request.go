// SPDX-License-Identifier: Apache-2.0

package login

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"
)

const (
	maxHeader        = 16 << 10
	maxAuthorization = 4 << 10
	maxBody          = 16 << 10
)

// problem is a request that is refused for its form.
type problem struct {
	status          int
	reason, message string
}

var (
	// errNoCredentials asks for credentials.
	errNoCredentials = problem{http.StatusUnauthorized, "MissingCredentials", "invalid or missing credentials"}
	// errRefused is for a wrong password, an unknown user, and a name or password
	// that nobody can have: the constant answer.
	errRefused = problem{http.StatusUnauthorized, "InvalidCredentials", "invalid or missing credentials"}
)

// checkHeader refuses headers that are too big or mean two things.
func checkHeader(r *http.Request) *problem {
	size := 0
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + 4
		}
	}
	if size > maxHeader {
		return &problem{http.StatusRequestHeaderFieldsTooLarge, "HeaderTooLarge", "the request's headers are too large"}
	}
	if len(r.Header.Values("Authorization")) > 1 {
		return &problem{http.StatusBadRequest, "BadHeader", "the request has more than one Authorization header"}
	}
	if r.Header.Get("Content-Encoding") != "" {
		return &problem{http.StatusBadRequest, "BadHeader", "the request's body is encoded: send it as it is"}
	}
	return nil
}

// takeCredentials reads the Authorization header and removes it from the
// request, so that nothing that later handles the request holds the password.
func takeCredentials(r *http.Request) (username, password string, refused *problem) {
	header := r.Header.Get("Authorization")
	r.Header.Del("Authorization")
	if header == "" {
		return "", "", &errNoCredentials
	}
	if len(header) > maxAuthorization {
		return "", "", &problem{http.StatusRequestHeaderFieldsTooLarge, "HeaderTooLarge",
			"the Authorization header is too large"}
	}
	malformed := &problem{http.StatusBadRequest, "BadHeader",
		"the Authorization header is not `Basic` and the base64 of user:password"}
	scheme, encoded, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", "", malformed
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(strings.Trim(encoded, " "))
	if err != nil || !utf8.Valid(decoded) {
		return "", "", malformed
	}
	username, password, ok = strings.Cut(string(decoded), ":")
	if !ok {
		return "", "", malformed
	}
	return username, password, nil
}

// guest names the guest cluster that a login asks for.
type guest struct{ name, namespace string }

// readGuest reads the body of a login: none, or one JSON object. Members that
// are not known are passed over; what could be read in two ways is refused.
func readGuest(w http.ResponseWriter, r *http.Request) (guest, *problem) {
	malformed := func(message string) (guest, *problem) {
		return guest{}, &problem{http.StatusBadRequest, "BadBody", message}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return guest{}, &problem{http.StatusRequestEntityTooLarge, "BodyTooLarge", "the request's body is too large"}
		}
		return malformed("the request's body could not be read")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return guest{}, nil
	}
	if !utf8.Valid(body) || !json.Valid(body) {
		return malformed("the request's body is not one JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		return malformed("the request's body is not a JSON object")
	}
	var asked guest
	seen := map[string]bool{}
	for decoder.More() {
		key, err := decoder.Token()
		name, ok := key.(string)
		var value json.RawMessage
		if err != nil || !ok || decoder.Decode(&value) != nil {
			return malformed("the request's body is not a JSON object")
		}
		// encoding/json and other readers differ in whether case matters, so no
		// two members may differ in it alone.
		if folded := fold(name); seen[folded] {
			return malformed("the request's body has two members of one name")
		} else {
			seen[folded] = true
		}
		var target *string
		switch name {
		case "guest_cluster_name":
			target = &asked.name
		case "guest_cluster_namespace":
			target = &asked.namespace
		default:
			continue
		}
		if value[0] != '"' || json.Unmarshal(value, target) != nil {
			return malformed(name + " is not text")
		}
	}
	return asked, nil
}

// clientAddress returns who speaks: the peer, or the last one that a trusted
// proxy speaks for.
func (s *Service) clientAddress(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := peer.Addr().Unmap()
	var forwarded []string
	for _, value := range r.Header.Values("X-Forwarded-For") {
		forwarded = append(forwarded, strings.Split(value, ",")...)
	}
	for len(forwarded) > 0 && s.trusted(address) {
		last, err := netip.ParseAddr(strings.TrimSpace(forwarded[len(forwarded)-1]))
		if err != nil {
			break
		}
		address, forwarded = last.Unmap().WithZone(""), forwarded[:len(forwarded)-1]
	}
	return address
}

func (s *Service) trusted(address netip.Addr) bool {
	for _, prefix := range s.TrustedProxies {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}
