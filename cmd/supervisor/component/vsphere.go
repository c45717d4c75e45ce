// SPDX-License-Identifier: Apache-2.0

package component

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/cmd/supervisor/synthetic"
	"github.com/openpacific/pacific/pkg/apiserver"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
)

// newVSphereAPIServerCommand is vsphere-apiserver with two hidden flags more, which put a synthetic inventory in the
// place of vCenter's for benchmarks.
func newVSphereAPIServerCommand(ctx context.Context) *cobra.Command {
	options := apiserver.NewOptions()
	command := apiserver.NewCommandFor(ctx, options)
	var machines int
	var socket string
	flags := command.Flags()
	flags.IntVar(&machines, "synthetic-machines", 0, "serve that many made-up machines in place of vCenter's")
	flags.StringVar(&socket, "synthetic-control", "", "Unix socket on which changes of the made-up machines are asked for")
	for _, name := range []string{"synthetic-machines", "synthetic-control"} {
		// It fails for unknown flags only.
		_ = flags.MarkHidden(name)
	}
	command.PreRun = func(*cobra.Command, []string) {
		if machines > 0 {
			options.Records.Installation = synthetic.Installation
			options.Inventory = func(handler inventory.Handler) apiserver.Inventory {
				return &synthetic.Source{Machines: machines, Handler: handler, Clock: clock.RealClock{}, Socket: socket}
			}
		}
	}
	return command
}
