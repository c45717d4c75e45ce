// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

// options are the flags of `supervisor bench`.
type options struct {
	plan    Plan
	dataDir string
	port    int
	output  string
	profile bool
}

// NewCommand returns the command `bench`.
func NewCommand() *cobra.Command {
	o := options{plan: DefaultPlan(), port: 8443, output: "table"}
	command := &cobra.Command{
		Use:   "bench",
		Short: "Compare the virtual machines that are served with the same ones as custom resources",
		Long: `Compare the virtual machines that vsphere-apiserver serves with the same objects, byte for byte as long, as custom
resources in the same kube-apiserver. It starts a Supervisor of its own on a made-up inventory, and stops it at the end.`,
		Args:         cobra.NoArgs,
		Hidden:       true,
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			return o.run(command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	flags := command.Flags()
	flags.IntVar(&o.plan.Machines, "machines", o.plan.Machines, "number of virtual machines")
	flags.IntVar(&o.plan.Rounds, "rounds", o.plan.Rounds, "how often each list is asked for on each side")
	flags.IntVar(&o.plan.GetRounds, "get-rounds", o.plan.GetRounds, "how often GETs are measured on each side")
	flags.DurationVar(&o.plan.GetTime, "get-time", o.plan.GetTime, "how long GETs are measured each time")
	flags.IntVar(&o.plan.Clients, "clients", o.plan.Clients,
		"clients that GET at once, and that change the custom resources")
	flags.IntVar(&o.plan.Watchers, "watchers", o.plan.Watchers, "number of watchers")
	flags.IntVar(&o.plan.Changes, "changes", o.plan.Changes, "number of single changes that are watched")
	flags.IntVar(&o.plan.Burst, "burst", o.plan.Burst, "number of changes that are watched at once")
	flags.DurationVar(&o.plan.Settle, "settle", o.plan.Settle, "pause before memory is read")
	flags.StringVar(&o.dataDir, "data-dir", o.dataDir, "data directory of the Supervisor; one that is removed at the "+
		"end where "+
		"none is given")
	flags.IntVar(&o.port, "secure-port", o.port, "port of the Supervisor")
	flags.StringVarP(&o.output, "output", "o", o.output, "table or json")
	flags.BoolVar(&o.profile, "profiling", o.profile, "serve /debug/pprof of the API servers meanwhile")
	return command
}

func (o *options) validate() error {
	if o.output != "table" && o.output != "json" {
		return fmt.Errorf("--output %q is neither table nor json: give one of these", o.output)
	}
	for _, flag := range []struct {
		name  string
		value int
	}{
		{"machines", o.plan.Machines}, {"rounds", o.plan.Rounds}, {"get-rounds", o.plan.GetRounds},
		{"clients", o.plan.Clients},
		{"watchers", o.plan.Watchers}, {"changes", o.plan.Changes}, {"burst", o.plan.Burst},
	} {
		if flag.value < 1 {
			return fmt.Errorf("--%s %d: give a positive number", flag.name, flag.value)
		}
	}
	return nil
}

// run starts the Supervisor, measures, and stops it. The report goes to out, everything else to progress.
func (o *options) run(out, progress io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	path := o.dataDir
	if path == "" {
		if path, err = os.MkdirTemp("", "pacific-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(path)
	}
	dir, err := datadir.New(path)
	if err != nil {
		return err
	}
	report := &Report{Machine: thisMachine(), Objects: o.plan.Machines, Notes: notes()}
	started, err := launch(ctx, executable, dir, o.port, o.plan.Machines, o.profile, progress)
	if err != nil {
		return err
	}
	defer started.stop()
	r := &run{plan: o.plan, out: progress, supervisor: started, report: report}
	if err := r.do(ctx); err != nil {
		return err
	}
	report.Finished, report.Machine.LoadAfter = time.Now(), load()
	if o.output == "json" {
		return report.printJSON(out)
	}
	return report.print(out, servers())
}

// notes are what one must know to read the figures.
func notes() []string {
	return []string{
		"Medians; both sides by turns, in one run, through the same kube-apiserver. The client asks for gzip, as client-go " +
			"does, except where it says identity, and reads answers whole without decoding them.",
		"The machines come from a synthetic inventory at the seam of the inventory collector; the login goes to the " +
			"simulated vCenter.",
		"The CRD holds the same objects, each item of its list as long as Pacific's, without managedFields; its schema " +
			"lets spec and status through unchecked.",
		"A change is for Pacific a new host name in the inventory, for the CRD a PATCH, counted from before it is asked " +
			"for; a burst is one step of the inventory, or a PATCH per object from all clients at once, so the CRD's burst is " +
			"bound by its writes.",
		"What the CRD added is the growth of kube-apiserver and etcd since Pacific was used alone; of Pacific the whole " +
			"process is counted.",
	}
}
