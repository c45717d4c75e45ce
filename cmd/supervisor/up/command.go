// SPDX-License-Identifier: Apache-2.0

package up

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/transport"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/cmd/supervisor/process"
)

// NewCommand returns the command `up`.
func NewCommand() *cobra.Command {
	options := DefaultOptions()
	command := &cobra.Command{
		Use:   "up (--sim | --vcenter URL --vcenter-credentials FILE) [flags]",
		Short: "Run a Supervisor until Ctrl-C",
		Long: `Run a Supervisor until Ctrl-C: etcd, kube-apiserver, kube-controller-manager and vsphere-apiserver, on a vCenter or,
with --sim, on a simulated one. What it keeps is in --data-dir; a second start finds it there.`,
		Example: `  # Try it on a simulated vCenter.
  supervisor up --sim

  # Run it on a vCenter whose certificate an authority of your own signs.
  supervisor up --vcenter https://vcenter.example.com --vcenter-credentials vcenter.yaml --vcenter-ca vcenter-ca.pem`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			transport.CertCallbackRefreshDuration = refreshEvery(options.CertificateLife)
			return runUntilSignal(command.OutOrStdout(), options)
		},
	}
	options.AddFlags(command.Flags())
	return command
}

// runUntilSignal stops everything in order at the first signal and kills everything at the second.
func runUntilSignal(out io.Writer, options Options) error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	supervisor := &Supervisor{
		Options: options, Executable: executable, Out: out, Clock: clock.RealClock{}, Timing: process.DefaultTiming(),
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		select {
		case s := <-signals:
			cancel(signalError{s})
		case <-finished:
			return
		}
		select {
		case <-signals:
			supervisor.Kill()
			os.Exit(130)
		case <-finished:
		}
	}()
	err = supervisor.Run(ctx)
	var asked signalError
	if errors.As(err, &asked) {
		return nil
	}
	return err
}

// signalError is why a Supervisor stops that is asked to.
type signalError struct{ signal os.Signal }

func (e signalError) Error() string { return e.signal.String() }
