// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Lock lets one process at a time get a new token for a key. The operating
// system releases it when the process ends, however it ends.
func (c *Cache) Lock(ctx context.Context, key Key) (release func(), err error) {
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("lock the token: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(c.Directory, key.id()+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the token: %w", err)
	}
	for {
		locked, err := tryLock(file)
		if locked {
			return func() { file.Close() }, nil
		}
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("lock the token: %w", err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("wait for another login: %w", ctx.Err())
		}
	}
}
