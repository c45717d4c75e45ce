// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openpacific/pacific/plugin/trust"
)

// TestLostAuthority loses the key of the authority between two starts.
func TestLostAuthority(t *testing.T) {
	t.Parallel()
	s := suite.New("lost-authority")
	begin := func(arguments ...string) error {
		s.Output.Reset()
		if err := s.Start(append([]string{"--sim"}, arguments...)...); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		return s.WaitReady(ctx)
	}
	if err := begin(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	before := s.Certificate(t, "ca")
	if err := os.Remove(filepath.Join(s.Dir.PKI(), "ca.key")); err != nil {
		t.Fatal(err)
	}
	err := begin()
	if err == nil {
		_ = s.Stop()
		t.Fatal("it started with another authority")
	}
	for _, want := range []string{`certificate authority "ca"`, "ca.key is missing", "--new-authority"} {
		if !strings.Contains(s.Output.String(), want) {
			t.Errorf("it does not say %q: %v", want, err)
		}
	}
	if after := s.Certificate(t, "ca"); !bytes.Equal(before.Raw, after.Raw) {
		t.Error("it refused, and replaced the authority")
	}

	if err := begin("--new-authority"); err != nil {
		t.Fatal(err)
	}
	after := s.Certificate(t, "ca")
	if bytes.Equal(before.Raw, after.Raw) || !strings.Contains(s.Output.String(), trust.Fingerprint(after)) {
		t.Errorf("with --new-authority: the same authority, or another one than is printed:\n%s", &s.Output)
	}
	if _, err := s.Try(t.Context(), "kubectl", "get", "vm", "-A"); err != nil {
		t.Error(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if err := begin(); err != nil {
		t.Errorf("the next start without the flag: %v", err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
