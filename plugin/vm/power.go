// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/kubeapi"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/target"
)

// The API's words.
const (
	poweredOn  = "PoweredOn"
	poweredOff = "PoweredOff"
	suspended  = "Suspended"
)

// change is what a command does to a machine.
type change struct {
	verb, short string
	// spec are the fields that it writes, and mode the field that says how, where there is one.
	spec map[string]any
	mode string
	// done is what it prints at the end, and reached whether it is there.
	done    string
	reached func(m *machine) bool
}

func changes() []change {
	return []change{
		{verb: "on", short: "Powers a virtual machine on", done: "is powered on",
			spec: map[string]any{"powerState": poweredOn}, reached: is(poweredOn)},
		{verb: "off", short: "Powers a virtual machine off", done: "is powered off",
			spec: map[string]any{"powerState": poweredOff}, mode: "powerOffMode", reached: is(poweredOff)},
		{verb: "suspend", short: "Suspends a virtual machine", done: "is suspended",
			spec: map[string]any{"powerState": suspended}, mode: "suspendMode", reached: is(suspended)},
		{verb: "restart", short: "Restarts a virtual machine", done: "is restarted",
			spec: map[string]any{"nextRestartTime": "now"}, mode: "restartMode", reached: restarted},
		{verb: "reset", short: "Restarts a virtual machine without asking its guest, and makes that its mode from then on",
			done: "is reset",
			spec: map[string]any{"nextRestartTime": "now", "restartMode": "Hard"}, reached: restarted},
	}
}

func is(state string) func(*machine) bool {
	return func(m *machine) bool { return m.Status.PowerState == state }
}

// restarted says whether the last restart is the one that was asked for last.
func restarted(m *machine) bool {
	wanted, err := time.Parse(time.RFC3339, m.Spec.NextRestartTime)
	last, none := time.Parse(time.RFC3339, m.Status.LastRestartTime)
	return err == nil && none == nil && !wanted.After(last)
}

// modes are the ways to stop, as they are typed and as the API has them.
var modes = map[string]string{"hard": "Hard", "soft": "Soft", "trysoft": "TrySoft"}

// waiting says whether and how long a command waits for what it asked for.
type waiting struct {
	wait    bool
	timeout time.Duration
}

func newPowerCommand(sh *shell.Shell, flags *target.Flags) *cobra.Command {
	w := &waiting{}
	command := &cobra.Command{
		Use: "power on|off|suspend|restart|reset NAME", Short: "Switches a virtual machine",
		Long: `Switches a virtual machine, and waits until it is so.

What is asked for is declared: it is brought about again when somebody changes it
in vCenter. With kubectl alone:

  kubectl patch vm NAME --type=merge -p '{"spec":{"powerState":"PoweredOff"}}'`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.PersistentFlags().BoolVar(&w.wait, "wait", sh.ErrorTerminal(),
		"Wait until it is so, with a line that tells how far it is. The default is to wait on a terminal.")
	command.PersistentFlags().DurationVar(&w.timeout, "timeout", 10*time.Minute, "How long to wait.")
	for _, one := range changes() {
		command.AddCommand(newChangeCommand(sh, flags, w, one))
	}
	return command
}

func newChangeCommand(sh *shell.Shell, flags *target.Flags, w *waiting, what change) *cobra.Command {
	mode := ""
	command := &cobra.Command{
		Use: what.verb + " NAME", Short: what.short, Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeName(sh, flags),
		RunE: func(command *cobra.Command, arguments []string) error {
			spec := map[string]any{}
			for field, value := range what.spec {
				spec[field] = value
			}
			if mode != "" {
				value, known := modes[strings.ToLower(mode)]
				if !known {
					return fmt.Errorf("--mode %q: it must be one of hard, soft, trysoft", shell.Line(mode, 64))
				}
				spec[what.mode] = value
			}
			t, err := flags.Open(command.Context(), sh)
			if err != nil {
				return err
			}
			return carryOut(command.Context(), sh, t, arguments[0], what, spec, w)
		},
	}
	if what.mode != "" {
		command.Flags().StringVar(&mode, "mode", "", "How: hard, soft (the guest is asked), or trysoft (it is asked first). "+
			"It is kept in spec."+what.mode+"; what is there by default.")
		_ = command.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"hard", "soft", "trysoft"},
			cobra.ShellCompDirectiveNoFileComp))
	}
	return command
}

// carryOut writes what is asked for, and waits for it.
func carryOut(ctx context.Context, sh *shell.Shell, t *target.Target, name string, what change, spec map[string]any,
	w *waiting) error {
	var m machine
	warnings, err := t.MergePatch(ctx, path(t, name), map[string]any{"spec": spec}, &m)
	if err != nil {
		return explained(t, name, err)
	}
	for _, warning := range warnings {
		sh.Warn("%s", shell.Line(warning, 1024))
	}
	shown := shell.Line(m.Metadata.Name, 253)
	if what.reached(&m) {
		fmt.Fprintf(sh.Out, "%s %s\n", shown, what.done)
		return nil
	}
	if !w.wait {
		fmt.Fprintf(sh.Out, "%s: asked for\n", shown)
		return nil
	}
	if len(warnings) > 0 {
		return shell.Advise(fmt.Errorf("%s: it is not waited for what nobody does now", shown),
			"kubectl get vm %s -n %s -o yaml shows its conditions.", shown, shell.Line(t.Namespace, 253))
	}
	limited, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	if err := await(limited, sh, t, &m, what); err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			err = overdue(t, &m, w.timeout)
		}
		return err
	}
	fmt.Fprintf(sh.Out, "%s %s\n", shown, what.done)
	return nil
}

// askInterval is how often a machine is looked at that is waited for.
const askInterval = time.Second

// await waits until a change is there, with a line that tells what is in its way.
func await(ctx context.Context, sh *shell.Shell, t *target.Target, m *machine, what change) error {
	name, wanted := m.Metadata.Name, m.Metadata.UID
	said := sh.ProgressOf(fmt.Sprintf("%s: power %s", shell.Line(name, 253), what.verb))
	defer said.Done()
	ticker := time.NewTicker(askInterval)
	defer ticker.Stop()
	for {
		said.Say(inTheWay(m))
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		var now machine
		switch err := t.Get(ctx, path(t, name), &now); {
		case err == nil && now.Metadata.UID != wanted:
			return fmt.Errorf("%s was deleted, and another one has its name now", shell.Line(name, 253))
		case err == nil:
			*m = now
		case kubeapi.Lasts(err):
			return explained(t, name, err)
		default:
			sh.Log().Info("the API server does not answer", "reason", err.Error())
		}
		if what.reached(m) {
			return nil
		}
	}
}

// obstacles are the conditions that tell why a change is not there yet, the most telling first.
var obstacles = []string{"QuestionAnswered", "VirtualMachineCreated", "Restarted", "VirtualMachineReconcileReady",
	"VirtualMachinePowerStateSynced"}

// inTheWay is why a change is not there yet, as far as the machine tells; one that is on its way tells nothing.
func inTheWay(m *machine) string {
	for _, conditionType := range obstacles {
		if c, found := m.isFalse(conditionType); found && c.Reason != "NotSynced" {
			return shell.Line(c.Message, 200)
		}
	}
	return ""
}

func overdue(t *target.Target, m *machine, timeout time.Duration) error {
	name := shell.Line(m.Metadata.Name, 253)
	text := fmt.Sprintf("%s: not within %s", name, timeout)
	if reason := inTheWay(m); reason != "" {
		text += ": " + reason
	}
	return shell.Advise(errors.New(text), "it goes on. kubectl get vm %s -n %s -o yaml shows its conditions.", name,
		shell.Line(t.Namespace, 253))
}
