// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"k8s.io/client-go/tools/cache"
)

// Watch has a shared informer tell a handler of all objects, what names, until stop is called; told says that it has told
// of those that were there. Where ctx has ended, and the informer with it, nothing is told: that all ends is not an error.
func Watch(ctx context.Context, informer cache.SharedInformer, what string,
	handler cache.ResourceEventHandler) (told cache.InformerSynced, stop func(), err error) {
	registration, err := informer.AddEventHandler(handler)
	switch {
	case err != nil && ctx.Err() != nil:
		return func() bool { return false }, func() {}, nil
	case err != nil:
		return nil, nil, fmt.Errorf("watch %s: %w", what, err)
	}
	return registration.HasSynced, func() { _ = informer.RemoveEventHandler(registration) }, nil
}
