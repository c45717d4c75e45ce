// SPDX-License-Identifier: Apache-2.0

package component

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/cmd/supervisor/vcenter"
)

// newVCenterCommand returns the simulated vCenter.
func newVCenterCommand(ctx context.Context) *cobra.Command {
	var o vcenter.ServeOptions
	command := &cobra.Command{
		Use:          VCenter,
		Short:        "Run a simulated vCenter",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(*cobra.Command, []string) error { return vcenter.Serve(ctx, o) },
	}
	flags := command.Flags()
	flags.StringVar(&o.Addr, "listen", "", "loopback address to listen on")
	flags.StringVar(&o.CertFile, "tls-cert-file", "", "serving certificate")
	flags.StringVar(&o.KeyFile, "tls-private-key-file", "", "key of the serving certificate")
	flags.StringVar(&o.CredentialsFile, "credentials", "", "YAML file with the username and the password that can log in")
	flags.StringVar(&o.ControlSocket, "control-socket", "",
		"socket on which `supervisor vcenter stop` and its like are heard")
	flags.StringVar(&o.Memory, "memory", "",
		"directory in which it remembers what there is, from one start to the next; none where it is left out")
	flags.StringVar(&o.GuestNetwork, "guest-network", "",
		"loopback network on which guests answer, such as 127.66.0.0/16; nowhere where it is left out")
	return command
}
