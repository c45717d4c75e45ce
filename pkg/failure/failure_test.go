// SPDX-License-Identifier: Apache-2.0

package failure_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/openpacific/pacific/pkg/failure"
)

func TestKindOf(t *testing.T) {
	cause := errors.New("cause")
	tests := []struct {
		name string
		err  error
		want failure.Kind
	}{
		{"nothing", nil, ""},
		{"no kind", cause, ""},
		{"bare", failure.Conflict, failure.Conflict},
		{"wrapped", fmt.Errorf("power on: %w", failure.NotFound), failure.NotFound},
		{"second of a joined pair", fmt.Errorf("%w: %w", cause, failure.Timeout), failure.Timeout},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := failure.KindOf(test.err); got != test.want {
				t.Errorf("KindOf(%v) = %q, want %q", test.err, got, test.want)
			}
			if test.want != "" && !errors.Is(test.err, test.want) {
				t.Errorf("errors.Is(%v, %q) = false", test.err, test.want)
			}
			if errors.Is(test.err, failure.Kind("other")) {
				t.Errorf("errors.Is(%v, another kind) = true", test.err)
			}
		})
	}
}
