// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/vmware/govmomi/object"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

// limit is the time that a command may take.
const limit = 2 * time.Minute

// NewCommand returns the command `vcenter`.
func NewCommand() *cobra.Command {
	s := &settings{dataDir: datadir.Default}
	command := &cobra.Command{
		Use:   "vcenter",
		Short: "Do in vCenter what a VI admin does in the vSphere Client",
		Long: `Do in vCenter what a VI admin does in the vSphere Client, on the vCenter of the Supervisor that runs in the data
directory, and watch what becomes of it in Kubernetes. A virtual machine or a folder is named by its name, or by the
end of its path where there are several of one name.`,
		Example: `  supervisor vcenter list
  supervisor vcenter power off team-a/web-1
  supervisor vcenter rename "Legacy DB Server" legacy-db
  supervisor vcenter move web-1 team-b`,
		// The usage is for who mistypes a command, not for who is told by vCenter that it cannot be done.
		PersistentPreRun: func(command *cobra.Command, _ []string) { command.SilenceUsage = true },
	}
	command.PersistentFlags().StringVar(&s.dataDir, "data-dir", s.dataDir, "data directory of the Supervisor")
	command.AddCommand(
		newListCommand(s), newRenameCommand(s), newPowerCommand(s), newDeleteCommand(s), newCreateCommand(s),
		newCloneCommand(s),
		newMoveCommand(s), newReconfigureCommand(s), newSetIPCommand(s), newFolderCommand(s),
		newRoleCommand(s), newQuestionCommand(s), newDatastoreCommand(s),
		newControlCommand(s, "stop", "stopped", "Stop the simulated vCenter; its inventory stays"),
		newControlCommand(s, "start", "running", "Start the simulated vCenter again"),
		newControlCommand(s, "restart", "running again", "Restart the simulated vCenter: sessions end, the inventory stays"),
		newResetCommand(s),
	)
	return command
}

// with runs f on the inventory of the vCenter.
func (s *settings) with(command *cobra.Command, f func(ctx context.Context, i *inventory, out io.Writer) error) error {
	ctx, cancel := context.WithTimeout(command.Context(), limit)
	defer cancel()
	_, facts, err := s.read()
	if err != nil {
		return err
	}
	client, err := connect(ctx, facts)
	if err != nil {
		return err
	}
	defer func() { _ = client.Logout(context.WithoutCancel(ctx)) }()
	i, err := readInventory(ctx, client)
	if err != nil {
		return err
	}
	return f(ctx, i, command.OutOrStdout())
}

// finish waits for a task and says what it was.
func finish(ctx context.Context, operation string, task *object.Task, err error) error {
	if err == nil {
		err = task.WaitEx(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", operation, explain(err))
	}
	return nil
}

func newListCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the virtual machines, those that are in no namespace too",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return s.with(command, func(_ context.Context, i *inventory, out io.Writer) error {
				table := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
				fmt.Fprintln(table, "PATH\tPOWER\tID\tHOST\tIP")
				for _, m := range i.machines {
					fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", m.path, m.power, m.object.Reference().Value, m.host, m.ip)
				}
				return table.Flush()
			})
		},
	}
}

func newControlCommand(s *settings, verb, state, short string) *cobra.Command {
	return &cobra.Command{
		Use:   verb,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(command.Context(), limit)
			defer cancel()
			if err := s.control(ctx, verb, nil); err != nil {
				return err
			}
			fmt.Fprintf(command.OutOrStdout(), "The simulated vCenter is %s.\n", state)
			return nil
		},
	}
}
