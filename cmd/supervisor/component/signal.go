// SPDX-License-Identifier: Apache-2.0

package component

import (
	"context"
	"os/signal"
	"syscall"
)

// signalContext ends with the first SIGTERM or SIGINT; the second one ends the process.
func signalContext(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
