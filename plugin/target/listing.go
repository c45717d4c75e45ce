// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/shell"
)

// Listing is a command that lists what a vSphere Namespace was given of one sort.
type Listing struct {
	// Use is the command's name and Alias another one of it, ShortList is about its list.
	Use, Alias, Short, ShortList string
	// List lists, in one of the formats of -o or, where that is empty, for people.
	List func(ctx context.Context, t *Target, output string) error
}

// NewCommand returns the command, with `list` below it.
func (l Listing) NewCommand(sh *shell.Shell) *cobra.Command {
	flags, output := &Flags{}, ""
	list := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: l.ShortList, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := shell.CheckFormat(output); err != nil {
				return err
			}
			t, err := flags.Open(command.Context(), sh)
			if err != nil {
				return err
			}
			return t.Explained(l.List(command.Context(), t, output))
		},
	}
	shell.AddOutput(list, &output)
	command := &cobra.Command{
		Use: l.Use, Aliases: []string{l.Alias}, Short: l.Short, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	flags.Add(command)
	command.AddCommand(list)
	return command
}
