// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// StatusError is an answer by which an API server refuses something.
type StatusError struct {
	Code int
	// Message is what it says, which may be nothing.
	Message string
}

func (e *StatusError) Error() string {
	if e.Message != "" {
		return e.Message
	}
	return fmt.Sprintf("the API server answers with status %d %s", e.Code, strings.ToLower(http.StatusText(e.Code)))
}

// NotFound says whether an error is an API server's word that something is not there.
func NotFound(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}

// Lasts says whether an error is an API server's word on what was asked, so that asking again changes nothing soon: not
// that nobody answers, or that the server is busy.
func Lasts(err error) bool {
	var status *StatusError
	return errors.Is(err, ErrToken) || errors.As(err, &status) && status.Code < http.StatusInternalServerError &&
		status.Code != http.StatusTooManyRequests
}

// Get reads what is at a path. It is a StatusError where that is refused, and ErrToken where the token is.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return err
	}
	_, err = c.ask(request, into)
	return err
}

// MergePatch changes what is at a path, and reads what it is then. What the server warns of is for people. Errors are
// those of Get.
func (c *Client) MergePatch(ctx context.Context, path string, patch, into any) (warnings []string, err error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, c.server+path+"?fieldManager=kubectl-vsphere",
		bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/merge-patch+json")
	return c.ask(request, into)
}

func (c *Client) ask(request *http.Request, into any) (warnings []string, err error) {
	request.Header.Set("Accept", "application/json")
	body, response, err := c.send(request)
	if err != nil {
		return nil, err
	}
	switch {
	case response.StatusCode == http.StatusUnauthorized:
		return nil, ErrToken
	case response.StatusCode/100 != 2:
		var status struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(body, &status) // what stands before an API server may answer otherwise
		return nil, &StatusError{Code: response.StatusCode, Message: status.Message}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, errors.New("the API server's answer is not JSON")
	}
	for _, header := range response.Header.Values("Warning") {
		// As in: 299 - "text"
		if _, text, found := strings.Cut(header, "\""); found {
			warnings = append(warnings, strings.ReplaceAll(strings.TrimSuffix(text, "\""), `\"`, `"`))
		}
	}
	return warnings, nil
}
