// SPDX-License-Identifier: Apache-2.0

// Package logout is `kubectl vsphere logout`: it takes out of the kubeconfig what
// logins have put there, and forgets cached tokens. It asks no server: a token
// stays valid until it expires, there is no request that ends it.
package logout

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/credential"
	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/wcp"
)

// NewCommand returns the command `logout`.
func NewCommand(sh *shell.Shell) *cobra.Command {
	var server string
	command := &cobra.Command{
		Use:   "logout",
		Short: "Destroys current sessions with all vCenter Namespaces clusters.",
		Long: `Destroys current sessions with all vCenter Namespaces clusters.

What "kubectl vsphere login" has put into the kubeconfig is removed, and nothing
else; cached tokens are forgotten.`,
		Example: `  # Log out of all servers
  kubectl vsphere logout

  # Log out of one
  kubectl vsphere logout --server=10.0.1.10`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return run(command.Context(), sh, server) },
	}
	command.Flags().StringVar(&server, "server", "", "Log out of this server only.")
	complete := func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		files, err := kubeconfig.FromEnvironment(sh.Getenv)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		config, err := files.Load()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		servers, _, _ := config.Logins()
		return servers, cobra.ShellCompDirectiveNoFileComp
	}
	_ = command.RegisterFlagCompletionFunc("server", complete)
	return command
}

func run(ctx context.Context, sh *shell.Shell, server string) error {
	only := ""
	if server != "" {
		address, err := wcp.ParseAddress(server)
		if err != nil {
			return err
		}
		only = address.String()
	}
	files, err := kubeconfig.FromEnvironment(sh.Getenv)
	if err != nil {
		return err
	}
	var gone []kubeconfig.User
	unset := false
	err = files.Edit(ctx, func(config *kubeconfig.Config) (*kubeconfig.Changes, error) {
		changes := &kubeconfig.Changes{}
		for name, user := range config.Users {
			if of(config, name, only) {
				changes.RemoveUsers = append(changes.RemoveUsers, name)
				gone = append(gone, user)
			}
		}
		for name, one := range config.Contexts {
			if !of(config, one.User, only) {
				continue
			}
			changes.RemoveContexts = append(changes.RemoveContexts, name)
			if !stays(config, one.Cluster, only) {
				changes.RemoveClusters = append(changes.RemoveClusters, one.Cluster)
			}
			unset = unset || name == config.CurrentContext
		}
		if only != "" && len(changes.RemoveUsers)+len(changes.RemoveContexts) == 0 {
			return nil, fmt.Errorf("not logged in to %s", only)
		}
		if unset {
			changes.CurrentContext = new(string)
		}
		return changes, nil
	})
	if err != nil {
		return err
	}
	if err := forget(ctx, sh, gone); err != nil {
		return err
	}
	if unset {
		fmt.Fprint(sh.Out, "Your KUBECONFIG context has changed.\nThe current KUBECONFIG context is unset.\n"+
			"To change context, use `kubectl config use-context <workload name>`\n")
	}
	whence := "all vSphere namespaces"
	if only != "" {
		whence = only
	}
	_, err = fmt.Fprintf(sh.Out, "Logged out of %s.\n", whence)
	return err
}

// of says whether a user was made by a login, at that server if it is named.
func of(config *kubeconfig.Config, user, only string) bool {
	address, _, ours := kubeconfig.Owner(user)
	if !ours || only == "" {
		return ours
	}
	server, _ := config.Login(address)
	return server == only
}

// stays says whether a cluster is used by a context that stays.
func stays(config *kubeconfig.Config, cluster, only string) bool {
	for _, one := range config.Contexts {
		if one.Cluster == cluster && !of(config, one.User, only) {
			return true
		}
	}
	return false
}

// forget removes the tokens that were handed out by the credential command.
func forget(ctx context.Context, sh *shell.Shell, gone []kubeconfig.User) error {
	var errs []error
	for _, user := range gone {
		if user.Exec == nil {
			continue
		}
		options, ours := credential.ParseArguments(user.Exec.Args)
		if !ours {
			continue
		}
		cache, err := credential.Open(sh, options.Storage)
		if err == nil {
			err = cache.Forget(ctx, options.Key())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
