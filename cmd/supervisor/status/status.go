// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/process"
)

// NewCommand returns the command `status`.
func NewCommand() *cobra.Command {
	path := datadir.Default
	command := &cobra.Command{
		Use:          "status",
		Short:        "Show the components of the Supervisor that runs in a data directory",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			dir, err := datadir.New(path)
			if err != nil {
				return err
			}
			return show(command.Context(), command.OutOrStdout(), dir, time.Now())
		},
	}
	command.Flags().StringVar(&path, "data-dir", path, "data directory of the Supervisor")
	return command
}

func show(ctx context.Context, out io.Writer, dir datadir.Dir, now time.Time) error {
	holder, err := dir.Holder()
	if err != nil {
		return err
	}
	if holder == nil {
		return fmt.Errorf("no Supervisor runs in %s: start one with `supervisor up`, or name its folder with --data-dir", dir)
	}
	status, err := dir.ReadStatus()
	if err != nil {
		return err
	}
	state := "is starting or stopping"
	if status.Ready {
		state = "is up"
		for _, c := range status.Components {
			if c.State != process.Ready {
				state = "has a component that is not ready"
			}
		}
	}
	fmt.Fprintf(out, "Supervisor %s: pid %d, for %s, on %s\n", state, holder.PID, age(now, holder.Since), holder.Server)
	if status.Authority.Fingerprint != "" {
		fmt.Fprintf(out, "Certificate authority %s, SHA-256 fingerprint\n  %s\n", status.Authority.CertFile,
			status.Authority.Fingerprint)
	}
	if id, err := installation(ctx, dir); err != nil {
		fmt.Fprintln(out, "Installation unknown: etcd does not answer")
	} else if id != "" {
		fmt.Fprintf(out, "Installation %s\n", id)
	}
	switch {
	case status.VCenter.Simulated:
		fmt.Fprintf(out, "Simulated vCenter on %s, credentials in %s\n\n", status.VCenter.URL, status.VCenter.CredentialsFile)
	default:
		fmt.Fprintf(out, "vCenter %s\n\n", status.VCenter.URL)
	}
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(table, "COMPONENT\tPID\tSTATE\tRESTARTS\tREADY\tMEMORY\tOWN\tAGE\tLOG")
	for _, c := range status.Components {
		pid, total, own, running := "-", "-", "-", "-"
		if c.PID > 0 {
			pid, running = strconv.Itoa(c.PID), age(now, c.StartedAt)
			total, own = memory(c.PID)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%t\t%s\t%s\t%s\t%s\n", c.Name, pid, c.State, c.Restarts, c.State == process.Ready,
			total, own, running, c.LogFile)
	}
	total, own := memory(holder.PID)
	fmt.Fprintf(table, "supervisor\t%d\t\t\t\t%s\t%s\t%s\t\n", holder.PID, total, own, age(now, holder.Since))
	if err := table.Flush(); err != nil {
		return err
	}
	for _, c := range status.Components {
		if c.State != process.Ready && c.Reason != "" {
			fmt.Fprintf(out, "\n%s: %s\n", c.Name, c.Reason)
		}
	}
	return nil
}

func age(now, since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return duration.HumanDuration(now.Sub(since))
}

// memory is what a process holds in memory, where the system tells through /proc: all of it, and the part that is its
// own. The rest is this program's file, which all components share.
func memory(pid int) (resident, own string) {
	resident, own = "-", "-"
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return resident, own
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			resident = strconv.Itoa(kib/1024) + "Mi"
		case "RssAnon":
			own = strconv.Itoa(kib/1024) + "Mi"
		}
	}
	return resident, own
}
