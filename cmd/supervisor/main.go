// SPDX-License-Identifier: Apache-2.0

// Command supervisor is all of a Supervisor in one program.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/openpacific/pacific/cmd/supervisor/bench"
	"github.com/openpacific/pacific/cmd/supervisor/component"
	"github.com/openpacific/pacific/cmd/supervisor/kubectl"
	"github.com/openpacific/pacific/cmd/supervisor/status"
	"github.com/openpacific/pacific/cmd/supervisor/up"
	"github.com/openpacific/pacific/cmd/supervisor/vcenter"
	"github.com/openpacific/pacific/cmd/supervisor/version"
)

func main() {
	if kubectl.IsInvoked(os.Args[0]) {
		kubectl.Run(os.Args[1:])
		return
	}
	root := &cobra.Command{Use: "supervisor", Short: "A Supervisor in one program: the Kubernetes API of a vCenter",
		SilenceErrors: true, SilenceUsage: true}
	// the libraries' own, which mean nothing here
	pflag.CommandLine.VisitAll(func(flag *pflag.Flag) { flag.Hidden = true })
	root.AddCommand(up.NewCommand(), bench.NewCommand(), status.NewCommand(), kubectl.NewCommand(), vcenter.NewCommand(),
		version.NewCommand(), component.NewCommand(component.Components()))
	err := root.Execute()
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		os.Exit(coded.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}
