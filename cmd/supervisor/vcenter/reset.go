// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

// Memory is where the simulated vCenter of a data directory remembers.
func Memory(dataDir string) string { return filepath.Join(dataDir, "vcenter", "memory") }

const resetLong = `Have the simulated vCenter forget everything: virtual machines with their disks, folders, pools, content
libraries, roles. The next start of the Supervisor makes a new one of the samples, with an instanceUuid of its own.

What Kubernetes holds stays: it is of another vCenter then, so that the new machines are nobody's, and the folders of the
new vCenter are served in namespaces of their own where the names are taken. To begin anew with both, remove the whole
data directory instead. The Supervisor must not run.`

func newResetCommand(s *settings) *cobra.Command {
	yes := false
	command := &cobra.Command{
		Use: "reset", Short: "Have the simulated vCenter forget everything, and begin with the samples at the next start",
		Long: resetLong, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			dir, err := datadir.New(s.dataDir)
			if err != nil {
				return err
			}
			memory := Memory(string(dir))
			if _, err := os.Stat(memory); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("there is no simulated vCenter in %s: name the folder of a Supervisor with --data-dir", dir)
			}
			release, err := dir.Lock(datadir.Holder{PID: os.Getpid(), Since: time.Now(),
				Server: "no address: it resets vCenter"})
			var held *datadir.HeldError
			if errors.As(err, &held) {
				return fmt.Errorf("the Supervisor in %s runs (process %d): stop it first with Ctrl-C or `kill %d`", dir,
					held.Holder.PID, held.Holder.PID)
			}
			if err != nil {
				return err
			}
			defer release()
			out := command.OutOrStdout()
			fmt.Fprintf(out, "This removes %s: all virtual machines of the simulated vCenter with their disks, and all else in "+
				"it. What Kubernetes holds in %s stays.\n", memory, dir.Etcd())
			if !yes {
				if err := confirm(command); err != nil {
					return err
				}
			}
			if err := os.RemoveAll(memory); err != nil {
				return fmt.Errorf("forget the simulated vCenter: %w", err)
			}
			fmt.Fprintln(out, "The next `supervisor up --sim` begins with a new vCenter.")
			return nil
		},
	}
	command.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return command
}

// confirm asks whoever sits at the terminal.
func confirm(command *cobra.Command) error {
	in := command.InOrStdin()
	if file, ok := in.(*os.File); ok && !term.IsTerminal(int(file.Fd())) {
		return errors.New("nothing is removed: there is no terminal to ask on, say --yes if that is what you want")
	}
	fmt.Fprint(command.OutOrStdout(), "Go on? Type yes: ")
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != "yes" {
		return errors.New("nothing is removed")
	}
	return nil
}
