// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/wcp"
)

// Namespace is a vSphere Namespace and its context.
type Namespace struct {
	Name    string `json:"name" yaml:"name"`
	Server  string `json:"server" yaml:"server"`
	Context string `json:"context" yaml:"context"`
	Current bool   `json:"current" yaml:"current"`
}

// NewCommand returns the command `namespace`.
func NewCommand(sh *shell.Shell) *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:     "namespace [NAME | -]",
		Aliases: []string{"ns"},
		Short:   "Lists the vSphere Namespaces, or switches to one",
		Long: `Lists the vSphere Namespaces that you are logged in to, the current one marked.
With a name, switches to it; with -, to the one before.`,
		Example: `  # List them
  kubectl vsphere namespace

  # Switch to one, and back
  kubectl vsphere ns team-a
  kubectl vsphere ns -`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			if err := shell.CheckFormat(output); err != nil {
				return err
			}
			files, err := kubeconfig.FromEnvironment(sh.Getenv)
			if err != nil {
				return err
			}
			if len(arguments) == 0 {
				return list(sh, files, output)
			}
			if output != "" {
				return errors.New("--output is for the list")
			}
			return switchTo(command.Context(), sh, files, arguments[0])
		},
		ValidArgsFunction: func(command *cobra.Command, arguments []string,
			_ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(arguments) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return complete(command.Context(), sh), cobra.ShellCompDirectiveNoFileComp
		},
	}
	shell.AddOutput(command, &output)
	return command
}

// known returns the namespaces that there are contexts for, by name.
func known(config *kubeconfig.Config) []Namespace {
	found := []Namespace{}
	for _, name := range config.Order {
		context := config.Contexts[name]
		if server, _, ours := config.Server(name); ours && context.Namespace != "" {
			found = append(found, Namespace{
				Name: context.Namespace, Server: server, Context: name, Current: name == config.CurrentContext,
			})
		}
	}
	slices.SortStableFunc(found, func(a, b Namespace) int {
		return strings.Compare(a.Name+"\x00"+a.Server, b.Name+"\x00"+b.Server)
	})
	return found
}

func list(sh *shell.Shell, files *kubeconfig.Files, output string) error {
	config, err := files.Load()
	if err != nil {
		return err
	}
	found := known(config)
	if len(found) == 0 && output == "" {
		return none(config)
	}
	var names []string
	rows := [][]string{{"CURRENT", "NAME", "SERVER", "CONTEXT"}}
	for _, one := range found {
		mark := ""
		if one.Current {
			mark = "*"
		}
		names = append(names, one.Name)
		rows = append(rows, []string{mark, one.Name, one.Server, one.Context})
	}
	return shell.PrintTable(sh.Out, output, found, names, rows)
}

func none(config *kubeconfig.Config) error {
	for name := range config.Contexts {
		if server, _, ours := config.Server(name); ours {
			return shell.Advise(fmt.Errorf("there are no vSphere Namespaces for you on %s", server),
				"Ask your vSphere administrator for a role in one, then log in again.")
		}
	}
	return shell.Advise(errors.New("not logged in"), "kubectl vsphere login --server=ADDRESS "+
		"--vsphere-username=USER@DOMAIN")
}

// switchTo makes a namespace's context the current one.
func switchTo(ctx context.Context, sh *shell.Shell, files *kubeconfig.Files, wanted string) error {
	directory, err := sh.StateDirectory()
	if err != nil {
		return err
	}
	memory := filepath.Join(directory, "previous-context")
	var target, before string
	var added kubeconfig.Context
	if wanted != "-" {
		// The server is asked before the kubeconfig is locked.
		config, err := files.Load()
		if err != nil {
			return err
		}
		if _, err := find(config, wanted); errors.Is(err, errNotFound) {
			added, err = discover(ctx, sh, config, wanted)
			if err != nil {
				return err
			}
		}
	}
	err = files.Edit(ctx, func(config *kubeconfig.Config) (changes *kubeconfig.Changes, err error) {
		before = config.CurrentContext
		target, changes, err = plan(config, wanted, memory, added)
		return changes, err
	})
	if err != nil {
		return err
	}
	if before != "" && before != target {
		if err := remember(directory, memory, before); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(sh.Out, "Switched to context %q.\n", target)
	return err
}

// plan returns the context to switch to, and what changes for that: added, when its
// user is set, is the context of a namespace that there was none for.
func plan(config *kubeconfig.Config, wanted, memory string,
	added kubeconfig.Context) (string, *kubeconfig.Changes, error) {
	target := wanted
	changes := &kubeconfig.Changes{}
	switch {
	case wanted == "-":
		data, err := os.ReadFile(memory)
		target = strings.TrimSpace(string(data))
		if _, exists := config.Contexts[target]; errors.Is(err, fs.ErrNotExist) || err == nil && !exists {
			return "", nil, errors.New("there is no namespace before this one")
		}
		if err != nil {
			return "", nil, fmt.Errorf("read which namespace was before: %w", err)
		}
	case added.User != "":
		if _, taken := config.Contexts[target]; taken {
			target = wanted + "-" + added.Cluster
		}
		changes.Contexts = map[string]kubeconfig.Context{target: added}
	default:
		found, err := find(config, wanted)
		if err != nil {
			return "", nil, err
		}
		target = found.Context
	}
	if target != config.CurrentContext || len(changes.Contexts) > 0 {
		changes.CurrentContext = &target
	}
	return target, changes, nil
}

func remember(directory, memory, context string) error {
	err := os.MkdirAll(directory, 0o700)
	if err == nil {
		err = os.WriteFile(memory, []byte(context+"\n"), 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember which namespace was before: %w", err)
	}
	return nil
}

var errNotFound = errors.New("there is no such vSphere Namespace, or you have no role in it")

// find returns the namespace that a name means: that of the context so called,
// or the only one of that name, on the current server if need be.
func find(config *kubeconfig.Config, wanted string) (*Namespace, error) {
	var matches []Namespace
	for _, one := range known(config) {
		if one.Context == wanted {
			return &one, nil
		}
		if one.Name == wanted {
			matches = append(matches, one)
		}
	}
	if len(matches) > 1 {
		server, _, _ := config.Server(config.CurrentContext)
		here := slices.DeleteFunc(slices.Clone(matches), func(one Namespace) bool { return one.Server != server })
		if len(here) != 1 {
			var names []string
			for _, one := range matches {
				names = append(names, one.Context)
			}
			return nil, shell.Advise(fmt.Errorf("there are several vSphere Namespaces %q", wanted),
				"Name the context: %s", strings.Join(names, ", "))
		}
		matches = here
	}
	if len(matches) == 0 {
		return nil, fmt.Errorf("%s: %w", shell.Line(wanted, 253), errNotFound)
	}
	return &matches[0], nil
}

// discover looks on the current server for a namespace that there is no context
// for.
func discover(ctx context.Context, sh *shell.Shell, config *kubeconfig.Config,
	wanted string) (kubeconfig.Context, error) {
	missing := fmt.Errorf("%s: %w", shell.Line(wanted, 253), errNotFound)
	current, ours := config.Contexts[config.CurrentContext]
	if _, _, isOurs := kubeconfig.Owner(current.User); !isOurs || !ours || !wcp.ValidName(wanted) {
		if len(known(config)) == 0 {
			return kubeconfig.Context{}, none(config)
		}
		return kubeconfig.Context{}, shell.Advise(missing,
			"kubectl vsphere namespace lists those that you have.")
	}
	done := sh.Progress("Looking for " + wanted)
	names, err := live(ctx, sh, config, config.CurrentContext)
	done()
	if err != nil {
		sh.Log().Info("the server does not list namespaces", "reason", err.Error())
	}
	if !slices.Contains(names, wanted) {
		return kubeconfig.Context{}, shell.Advise(missing,
			"kubectl vsphere namespace lists those that you have; one that is new may need a new login.")
	}
	current.Namespace = wanted
	return current, nil
}

// complete returns the names to complete, from the server too.
func complete(ctx context.Context, sh *shell.Shell) []string {
	files, err := kubeconfig.FromEnvironment(sh.Getenv)
	if err != nil {
		return nil
	}
	config, err := files.Load()
	if err != nil {
		return nil
	}
	var names []string
	for _, one := range known(config) {
		names = append(names, one.Name)
		if one.Context != one.Name {
			names = append(names, one.Context)
		}
	}
	if _, _, ours := config.Server(config.CurrentContext); ours {
		found, _ := live(ctx, sh, config, config.CurrentContext)
		names = append(names, found...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
