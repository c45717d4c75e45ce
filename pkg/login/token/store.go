// SPDX-License-Identifier: Apache-2.0

package token

import "context"

// Store keeps the keys. The bytes are opaque to it and secret: it may encrypt
// them.
type Store interface {
	// Load returns what was saved last and a version that stands for it; nil and
	// "" when nothing was.
	Load(ctx context.Context) (data []byte, version string, err error)
	// Save replaces what version stands for. The error wraps failure.Conflict
	// when that is not what is there now.
	Save(ctx context.Context, data []byte, version string) error
}
