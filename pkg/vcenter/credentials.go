// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	firstRefusalDelay = 30 * time.Second
	lastRefusalDelay  = 10 * time.Minute
)

// digest stands for the content of a credentials file, so that two contents
// can be compared without keeping either.
type digest [sha256.Size]byte

// credentials are what the file held when it was read.
type credentials struct {
	username string
	password string
	digest   digest
}

// String keeps the password out of whatever prints credentials.
func (c credentials) String() string { return c.username }

// GoString does so for %#v.
func (c credentials) GoString() string { return c.username }

// readCredentials returns the digest also when the content cannot be used.
func readCredentials(file string) (credentials, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return credentials{}, fmt.Errorf("read vCenter's credentials: %w", err)
	}
	result := credentials{digest: sha256.Sum256(content)}
	var fields struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	// The parser's error is left out since it may quote the password.
	if err := yaml.UnmarshalStrict(content, &fields); err != nil {
		return result, fmt.Errorf("the credentials file %s is not YAML with the two keys username and password, both of "+
			"them text", file)
	}
	if fields.Username == "" || fields.Password == "" {
		return result, fmt.Errorf("the credentials file %s lacks a username or a password", file)
	}
	result.username, result.password = fields.Username, fields.Password
	return result, nil
}

// refusals remembers which contents of the credentials file vCenter refused,
// so that the same content is not tried again before its time: vCenter locks
// accounts after a handful of failed logins.
type refusals map[digest]refusal

type refusal struct {
	count     int
	notBefore time.Time
}

// add notes that vCenter refused content.
func (r refusals) add(content digest, now time.Time) {
	for other, entry := range r {
		if now.Sub(entry.notBefore) > 24*time.Hour {
			delete(r, other)
		}
	}
	entry := r[content]
	delay := lastRefusalDelay
	if shift := entry.count; shift < 5 {
		delay = min(firstRefusalDelay<<shift, lastRefusalDelay)
	}
	entry.count++
	entry.notBefore = now.Add(delay)
	r[content] = entry
}

// wait returns how long content must not be tried.
func (r refusals) wait(content digest, now time.Time) time.Duration {
	return r[content].notBefore.Sub(now)
}

// refusedError is a login that vCenter refused, or that was not tried because
// vCenter had refused it before.
type refusedError struct {
	file  string
	cause error
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("vCenter refused the user name or password in %s: put the right ones there; they are tried as "+
		"soon as the file changes", e.file)
}

func (e *refusedError) Unwrap() error { return e.cause }

func isRefused(err error) bool {
	var refused *refusedError
	return errors.As(err, &refused)
}
