// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/credential"
	"github.com/openpacific/pacific/plugin/kubeapi"
	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/shell"
)

// Flags are those by which a command line says what it is about.
type Flags struct {
	Context, Namespace string
}

// Add adds the flags to a command, as kubectl has them.
func (f *Flags) Add(command *cobra.Command) {
	flags := command.PersistentFlags()
	flags.StringVar(&f.Context, "context", "", "The context of the kubeconfig to use; the current one by default.")
	flags.StringVarP(&f.Namespace, "namespace", "n", "", "The vSphere Namespace; that of the context by default.")
}

// Target is what a command is about.
type Target struct {
	*kubeapi.Client
	Namespace string
}

// Open finds the target that the flags name. Whoever is not logged in is told how to be.
func (f *Flags) Open(ctx context.Context, sh *shell.Shell) (*Target, error) {
	files, err := kubeconfig.FromEnvironment(sh.Getenv)
	if err != nil {
		return nil, err
	}
	config, err := files.Load()
	if err != nil {
		return nil, err
	}
	timeout, err := sh.Timeout()
	if err != nil {
		return nil, err
	}
	name := f.Context
	if name == "" {
		name = config.CurrentContext
	}
	known, found := config.Contexts[name]
	switch {
	case name == "":
		return nil, shell.Advise(errors.New("not logged in"), logIn)
	case !found:
		return nil, shell.Advise(fmt.Errorf("the kubeconfig has no context %q", shell.Line(name, 253)),
			"kubectl config get-contexts lists those that there are.")
	}
	t := &Target{Namespace: f.Namespace}
	if t.Namespace == "" {
		t.Namespace = known.Namespace
	}
	if t.Namespace == "" {
		return nil, shell.Advise(fmt.Errorf("the context %q names no vSphere Namespace", shell.Line(name, 253)),
			"name one with --namespace, or switch to one with kubectl vsphere namespace NAME.")
	}
	t.Client, err = Client(ctx, sh, config, name, timeout)
	if errors.Is(err, errNoToken) {
		err = shell.Advise(fmt.Errorf("the context %q: %w", shell.Line(name, 253), err), logIn)
	}
	return t, err
}

// Given says that the namespace was given nothing of a sort, and who changes that, by the field that names it.
func (t *Target) Given(sort, field string) error {
	return shell.Advise(fmt.Errorf("the vSphere Namespace %q was given no %s", shell.Line(t.Namespace, 253), sort),
		"an administrator changes that in spec.%s of the vSphere Namespace.", field)
}

// Explained says what somebody can do about an error of the API server.
func (t *Target) Explained(err error) error {
	if errors.Is(err, kubeapi.ErrToken) {
		return shell.Advise(errors.New("the login has expired"), logIn)
	}
	return err
}

const logIn = "kubectl vsphere login --server=ADDRESS --vsphere-username=USER@DOMAIN"

var errNoToken = errors.New("it holds no token of kubectl vsphere login")

// Client returns the client of the API server of a context. A request takes at most timeout, if that is not zero.
func Client(ctx context.Context, sh *shell.Shell, config *kubeconfig.Config, name string,
	timeout time.Duration) (*kubeapi.Client, error) {
	known := config.Contexts[name]
	token, err := bearer(ctx, sh, config.Users[known.User])
	if err != nil {
		return nil, err
	}
	return kubeapi.New(config.Clusters[known.Cluster], token, timeout)
}

// bearer returns the token of a user, without asking anybody.
func bearer(ctx context.Context, sh *shell.Shell, user kubeconfig.User) (string, error) {
	if user.Exec == nil {
		if user.Token == "" {
			return "", errNoToken
		}
		return user.Token, nil
	}
	options, ours := credential.ParseArguments(user.Exec.Args)
	if !ours {
		return "", errNoToken
	}
	cache, err := credential.Open(sh, options.Storage)
	if err != nil {
		return "", err
	}
	token, err := cache.Load(ctx, options.Key())
	if err != nil || token == nil {
		return "", errors.Join(errNoToken, err)
	}
	return token.Value, nil
}
