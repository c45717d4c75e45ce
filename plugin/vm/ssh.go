// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/target"
)

func newSSHCommand(sh *shell.Shell, flags *target.Flags) *cobra.Command {
	user := ""
	command := &cobra.Command{
		Use:   "ssh NAME [-- ARGUMENTS]",
		Short: "Opens a shell in a virtual machine, with your own ssh",
		Long: `Runs your own ssh to the primary address that the guest of a virtual machine
reports. Keys, known hosts and the rest are ssh's: what follows -- is passed on.`,
		Example: `  kubectl vsphere vm ssh web-1 -l ubuntu
  kubectl vsphere vm ssh web-1 -- -i key.pem uptime`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeName(sh, flags),
		RunE: func(command *cobra.Command, arguments []string) error {
			if at := command.ArgsLenAtDash(); len(arguments) > 1 && at != 1 {
				return errors.New("what is for ssh follows --, after one name")
			}
			t, err := flags.Open(command.Context(), sh)
			if err != nil {
				return err
			}
			address, err := address(command.Context(), t, arguments[0])
			if err != nil {
				return err
			}
			var options []string
			if user != "" {
				options = append(options, "-l", user)
			}
			// No -- stands before it: ssh takes options after an address only without.
			options = append(options, address)
			return run(command.Context(), sh, append(options, arguments[1:]...))
		},
	}
	command.Flags().StringVarP(&user, "login", "l", "", "Who to log in as; ssh's own choice by default.")
	return command
}

// address is the primary one of a machine. What the guest says is only taken where it is an address: ssh reads options
// where a name stands. The zone of an address can be any text, which ssh may hand on to a shell, and means something in
// the guest alone.
func address(ctx context.Context, t *target.Target, name string) (string, error) {
	var m machine
	if err := t.Get(ctx, path(t, name), &m); err != nil {
		return "", explained(t, name, err)
	}
	for _, one := range []string{m.Status.Network.PrimaryIP4, m.Status.Network.PrimaryIP6} {
		if address, err := netip.ParseAddr(one); err == nil && address.Zone() == "" {
			return address.String(), nil
		}
	}
	shown := shell.Line(m.Metadata.Name, 253)
	if m.Status.PowerState != poweredOn {
		return "", shell.Advise(fmt.Errorf("%s is not powered on", shown), "kubectl vsphere vm power on %s", shown)
	}
	return "", shell.Advise(fmt.Errorf("%s has no address yet: its guest reports none by VMware Tools", shown),
		"kubectl get vm %s -n %s -o wide shows it as soon as there is one.", shown, shell.Line(t.Namespace, 253))
}

// run runs ssh at the user's terminal.
func run(ctx context.Context, sh *shell.Shell, arguments []string) error {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return shell.Advise(errors.New("there is no ssh on this computer"), "install an OpenSSH client.")
	}
	command := exec.CommandContext(ctx, program, arguments...)
	command.Stdin, command.Stdout, command.Stderr = sh.In, sh.Out, sh.Err
	err = command.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() > 0 {
		return &shell.ExitError{Code: ended.ExitCode()}
	}
	return err
}
