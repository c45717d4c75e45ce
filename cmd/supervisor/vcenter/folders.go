// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vmware/govmomi/vim25/types"
)

// namespacesFolder is where folders are made when no path is given: each is a namespace.
const namespacesFolder = "Namespaces"

func newFolderCommand(s *settings) *cobra.Command {
	command := &cobra.Command{Use: "folder", Short: "Create, rename, move and delete folders: those in " +
		namespacesFolder + " are namespaces"}
	command.AddCommand(
		&cobra.Command{
			Use: "create [PARENT/]NAME", Short: "Create a folder, in " + namespacesFolder + " where no parent is given",
			Args: cobra.ExactArgs(1),
			RunE: func(command *cobra.Command, args []string) error {
				parent, name := namespacesFolder, args[0]
				if n := strings.LastIndexByte(name, '/'); n >= 0 {
					parent, name = name[:n], name[n+1:]
				}
				return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
					f, err := i.folder(parent)
					if err != nil {
						return err
					}
					if _, err := f.object.CreateFolder(ctx, name); err != nil {
						return fmt.Errorf("create folder %s/%s: %w", f.path, name, explain(err))
					}
					fmt.Fprintf(out, "%s/%s is created.\n", f.path, name)
					return nil
				})
			},
		},
		&cobra.Command{
			Use: "rename FOLDER NAME", Short: "Rename a folder", Args: cobra.ExactArgs(2),
			RunE: func(command *cobra.Command, args []string) error {
				return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
					f, err := i.folder(args[0])
					if err != nil {
						return err
					}
					task, err := f.object.Rename(ctx, args[1])
					if err := finish(ctx, "rename folder "+f.path, task, err); err != nil {
						return err
					}
					fmt.Fprintf(out, "%s is called %s now.\n", f.path, args[1])
					return nil
				})
			},
		},
		&cobra.Command{
			Use: "move FOLDER PARENT", Short: "Move a folder, with all that is in it, into another one",
			Args: cobra.ExactArgs(2),
			RunE: func(command *cobra.Command, args []string) error {
				return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
					f, err := i.folder(args[0])
					if err != nil {
						return err
					}
					parent, err := i.folder(args[1])
					if err != nil {
						return err
					}
					task, err := parent.object.MoveInto(ctx, []types.ManagedObjectReference{f.object.Reference()})
					if err := finish(ctx, "move folder "+f.path, task, err); err != nil {
						return err
					}
					fmt.Fprintf(out, "%s is moved to %s%s.\n", f.path, parent.path, f.path[strings.LastIndexByte(f.path, '/'):])
					return nil
				})
			},
		},
		&cobra.Command{
			Use: "delete FOLDER", Short: "Delete a folder and every virtual machine in it", Args: cobra.ExactArgs(1),
			RunE: func(command *cobra.Command, args []string) error {
				return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
					f, err := i.folder(args[0])
					if err != nil {
						return err
					}
					task, err := f.object.Destroy(ctx)
					if err := finish(ctx, "delete folder "+f.path, task, err); err != nil {
						return err
					}
					fmt.Fprintf(out, "%s is deleted.\n", f.path)
					return nil
				})
			},
		},
	)
	return command
}
