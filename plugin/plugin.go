// SPDX-License-Identifier: Apache-2.0

// Package plugin is the kubectl plugin `kubectl vsphere`. Each command is a
// package of its own; what they share is in shell (the terminal), wcp (the
// client of the login service), trust (certificates) and kubeconfig.
//
// It is built from neither govmomi nor the API server, and not from client-go
// either: kubectl runs `kubectl-vsphere credential` before each request of a
// context with --auth=exec, so it has to start in milliseconds.
package plugin

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/class"
	"github.com/openpacific/pacific/plugin/credential"
	"github.com/openpacific/pacific/plugin/image"
	"github.com/openpacific/pacific/plugin/login"
	"github.com/openpacific/pacific/plugin/logout"
	"github.com/openpacific/pacific/plugin/namespace"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/version"
	"github.com/openpacific/pacific/plugin/vm"
)

// Run runs a command line and returns the exit code. An error is printed here
// and nowhere else.
func Run(ctx context.Context, sh *shell.Shell, arguments []string) int {
	command := NewCommand(sh)
	command.SetArgs(arguments)
	command.SetIn(sh.In)
	command.SetOut(sh.Out)
	command.SetErr(sh.Err)
	ran, err := command.ExecuteContextC(ctx)
	var ended *shell.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.Code
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		shell.Report(sh.Err, errors.New("interrupted"))
		return 130
	case isUsage(err):
		err = shell.Advise(err, "%s --help shows what there is", ran.CommandPath())
	}
	shell.Report(sh.Err, err)
	return 1
}

// isUsage says whether cobra did not understand the command line.
func isUsage(err error) bool {
	for _, beginning := range []string{
		"unknown command", "unknown flag", "unknown shorthand", "flag needs", "invalid argument", "accepts ",
	} {
		if strings.HasPrefix(err.Error(), beginning) {
			return true
		}
	}
	return false
}

// NewCommand returns the plugin's command with all commands below it.
func NewCommand(sh *shell.Shell) *cobra.Command {
	command := &cobra.Command{
		Use:           "kubectl-vsphere",
		Short:         "vSphere Plugin for kubectl.",
		Long:          "vSphere Plugin for kubectl.",
		SilenceErrors: true,
		SilenceUsage:  true,
		// As kubectl's plugins are called.
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl vsphere"},
	}
	flags := command.PersistentFlags()
	flags.StringVar(&sh.RequestTimeout, "request-timeout", "", "Request timeout for HTTP client.")
	flags.IntVarP(&sh.Verbosity, "verbose", "v", 0, "Print verbose logging information.")
	command.AddCommand(
		login.NewCommand(sh),
		logout.NewCommand(sh),
		namespace.NewCommand(sh),
		vm.NewCommand(sh),
		image.NewCommand(sh),
		class.NewCommand(sh),
		version.NewCommand(sh),
		credential.NewCommand(sh),
	)
	describeCompletion(command)
	return command
}

// describeCompletion says how cobra's command `completion` goes together with
// kubectl, which completes its plugins in a way of its own.
func describeCompletion(command *cobra.Command) {
	command.InitDefaultCompletionCmd()
	completion, _, err := command.Find([]string{"completion"})
	if err != nil || completion == command {
		return
	}
	completion.Short = "Generates the autocompletion script for a shell"
	completion.Long = `Generates the autocompletion script of kubectl-vsphere for a shell.

kubectl completes "kubectl vsphere" when it finds in PATH an executable named
kubectl_complete-vsphere, which is in the archives of the releases:

  #!/bin/sh
  exec kubectl-vsphere __complete "$@"`
	completion.Example = `  # For this session of bash
  source <(kubectl-vsphere completion bash)`
}
