// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/openpacific/pacific/plugin/trust"
)

// TestServersShowTheirAuthority: somebody who knows nothing yet can ask whether it is the right one.
func TestServersShowTheirAuthority(t *testing.T) {
	t.Parallel()
	s := running(t)
	fingerprint := trust.Fingerprint(s.Certificate(t, "ca"))
	if out := s.Output.String(); !strings.Contains(out, fingerprint) {
		t.Errorf("up does not print %s:\n%s", fingerprint, out)
	}
	if out, err := s.Try(t.Context(), "status", "--data-dir", string(s.Dir)); err != nil ||
		!strings.Contains(out, fingerprint) {
		t.Errorf("status does not print %s: %v\n%s", fingerprint, err, out)
	}
	servers := s.Servers(t)
	if len(servers) < 7 {
		t.Fatalf("servers: %v", servers)
	}
	for _, server := range servers {
		chain, err := server.Shown(t.Context())
		if err != nil {
			t.Error(err)
			continue
		}
		if authority := s.Certificate(t, server.Authority); len(chain) != 2 || !chain[1].Equal(authority) ||
			chain[0].CheckSignatureFrom(authority) != nil {
			t.Errorf("%s on port %d shows %d certificates, want its own and its authority's", server.Certificate, server.Port,
				len(chain))
		}
	}
}
