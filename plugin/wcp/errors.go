// SPDX-License-Identifier: Apache-2.0

package wcp

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/openpacific/pacific/plugin/shell"
)

// ErrNoCluster is returned for a guest cluster that the server does not know,
// or does not want this user to know.
var ErrNoCluster = errors.New("there is no such Tanzu Kubernetes cluster, or it is not yours")

// ConnectionError says that there was no answer.
type ConnectionError struct {
	Server string
	Err    error
}

func (e *ConnectionError) Error() string {
	return fmt.Sprintf("Error while connecting to host %s: %v", e.Server, e.Err)
}
func (e *ConnectionError) Unwrap() error { return e.Err }

// StatusError is an answer other than 200.
type StatusError struct {
	Status int
	Reason string // the server's word for it, for programs; mostly nothing
	Detail string // what the server says about it: one line, or nothing
}

// Error uses the words that VMware's plugin uses.
func (e *StatusError) Error() string {
	text := strings.ToLower(http.StatusText(e.Status))
	switch {
	case e.Status == http.StatusUnauthorized:
		text = "invalid or missing credentials"
	case e.Status >= 300 && e.Status < 400:
		text = fmt.Sprintf("the server answers with a redirect (status %d), which is not followed", e.Status)
	case text == "":
		text = fmt.Sprintf("status %d", e.Status)
	}
	switch {
	case e.Detail == "":
		return text
	case strings.HasPrefix(strings.ToLower(e.Detail), text):
		return e.Detail
	}
	return text + ": " + e.Detail
}

// Refused says whether an error means that the server did not take the user
// name and password: so nobody tries them again, here or elsewhere.
func Refused(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && (status.Status == http.StatusUnauthorized ||
		status.Status == http.StatusForbidden || status.Status == http.StatusTooManyRequests)
}

// statusError takes one line out of an answer. An answer that repeats what it
// got is not shown.
func statusError(response *http.Response, body []byte, credentials *Credentials) error {
	failure := &StatusError{Status: response.StatusCode}
	var document struct {
		Error   json.RawMessage `json:"error"`
		Reason  string          `json:"reason"`
		Message string          `json:"message"`
	}
	text := string(body)
	if err := json.Unmarshal(body, &document); err == nil {
		failure.Reason, text = document.Reason, document.Message
		if text == "" {
			_ = json.Unmarshal(document.Error, &text)
		}
	} else if strings.Contains(response.Header.Get("Content-Type"), "html") ||
		strings.HasPrefix(strings.TrimSpace(text), "<") {
		text = ""
	}
	text = shell.Line(text, maxDetail)
	if strings.EqualFold(text, http.StatusText(response.StatusCode)) || leaks(string(body), credentials) {
		text = ""
	}
	failure.Detail = text
	return failure
}

func leaks(body string, credentials *Credentials) bool {
	if credentials == nil || credentials.Password == "" {
		return false
	}
	basic := base64.StdEncoding.EncodeToString([]byte(credentials.Username + ":" + credentials.Password))
	return strings.Contains(body, credentials.Password) || strings.Contains(body, basic)
}
