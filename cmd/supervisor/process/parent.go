// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"os"
	"time"
)

// FollowParent calls gone when the process that started this one has ended, and returns; or returns when ctx is done.
// It is for systems whose kernel does not do that by itself.
func FollowParent(ctx context.Context, interval time.Duration, gone func()) {
	parent := os.Getppid()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if os.Getppid() != parent {
				gone()
				return
			}
		}
	}
}
