// SPDX-License-Identifier: Apache-2.0

package facts_test

import (
	"testing"

	"github.com/openpacific/pacific/pkg/facts"
)

func TestImageName(t *testing.T) {
	// The figures are those of `printf 6b8f8a5e0d6c4c1f9a3e2b7d5f104c88 | sha1sum`.
	const want = "vmi-39832c25ff7e2b10e"
	if got := facts.ImageName("6b8f8a5e-0d6c-4c1f-9a3e-2b7d5f104c88"); got != want {
		t.Errorf("ImageName() = %q, want %q", got, want)
	}
}
