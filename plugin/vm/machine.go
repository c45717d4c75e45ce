// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/kubeapi"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/target"
)

// NewCommand returns the command `vm` with those below it.
func NewCommand(sh *shell.Shell) *cobra.Command {
	flags := &target.Flags{}
	command := &cobra.Command{
		Use:     "vm",
		Aliases: []string{"virtualmachine"},
		Short:   "Switches virtual machines, and opens a shell in them",
		Args:    cobra.NoArgs,
		RunE:    func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	flags.Add(command)
	command.AddCommand(newPowerCommand(sh, flags), newSSHCommand(sh, flags), newEventsCommand(sh, flags))
	return command
}

// machine is what is read of a virtual machine.
type machine struct {
	Metadata struct {
		Name string `json:"name"`
		UID  string `json:"uid"`
	} `json:"metadata"`
	Spec struct {
		PowerState      string `json:"powerState"`
		NextRestartTime string `json:"nextRestartTime"`
	} `json:"spec"`
	Status struct {
		PowerState      string      `json:"powerState"`
		LastRestartTime string      `json:"lastRestartTime"`
		Conditions      []condition `json:"conditions"`
		Network         struct {
			PrimaryIP4 string `json:"primaryIP4"`
			PrimaryIP6 string `json:"primaryIP6"`
		} `json:"network"`
	} `json:"status"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// isFalse returns the condition of a type, where it is false.
func (m *machine) isFalse(conditionType string) (condition, bool) {
	i := slices.IndexFunc(m.Status.Conditions, func(c condition) bool {
		return c.Type == conditionType && c.Status == "False"
	})
	if i < 0 {
		return condition{}, false
	}
	return m.Status.Conditions[i], true
}

// machines is where the virtual machines of a namespace are. v1alpha5 is the oldest version that tells of all that is
// looked at.
func machines(namespace string) string {
	return "/apis/vmoperator.vmware.com/v1alpha5/namespaces/" + url.PathEscape(namespace) + "/virtualmachines"
}

func path(t *target.Target, name string) string {
	return machines(t.Namespace) + "/" + url.PathEscape(name)
}

// explained says what somebody can do about an error.
func explained(t *target.Target, name string, err error) error {
	if kubeapi.NotFound(err) {
		return shell.Advise(fmt.Errorf("there is no virtual machine %q in the namespace %q", shell.Line(name, 253),
			shell.Line(t.Namespace, 253)), "kubectl get vm -n %s lists those that there are.", shell.Line(t.Namespace, 253))
	}
	return t.Explained(err)
}

// completeName completes the name of a machine, from the server.
func completeName(sh *shell.Shell, flags *target.Flags) cobra.CompletionFunc {
	return func(command *cobra.Command, arguments []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(arguments) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, _ := names(command.Context(), sh, flags) // there is nobody to tell
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func names(ctx context.Context, sh *shell.Shell, flags *target.Flags) ([]string, error) {
	t, err := flags.Open(ctx, sh)
	if err != nil {
		return nil, err
	}
	var list struct{ Items []machine }
	if err := t.Get(ctx, machines(t.Namespace), &list); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range list.Items {
		if !strings.ContainsAny(m.Metadata.Name, " \t\n") {
			names = append(names, m.Metadata.Name)
		}
	}
	return names, nil
}
