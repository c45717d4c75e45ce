// SPDX-License-Identifier: Apache-2.0

// kubectl-vsphere logs people in to vSphere with Tanzu: kubectl finds it as `kubectl vsphere`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/openpacific/pacific/plugin"
	"github.com/openpacific/pacific/plugin/shell"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := plugin.Run(ctx, shell.FromOS(), os.Args[1:])
	stop()
	os.Exit(code)
}
