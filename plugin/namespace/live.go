// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"errors"
	"time"

	"github.com/openpacific/pacific/plugin/credential"
	"github.com/openpacific/pacific/plugin/kubeapi"
	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/shell"
)

// liveTimeout bounds the question: somebody waits for a completion.
const liveTimeout = 3 * time.Second

// live asks the API server of a context for the names of the namespaces.
func live(ctx context.Context, sh *shell.Shell, config *kubeconfig.Config, name string) ([]string, error) {
	current := config.Contexts[name]
	token, err := bearer(ctx, sh, config.Users[current.User])
	if err != nil {
		return nil, err
	}
	client, err := kubeapi.New(config.Clusters[current.Cluster], token, liveTimeout)
	if err != nil {
		return nil, err
	}
	return client.Namespaces(ctx)
}

// bearer returns the token of a user, without asking anybody.
func bearer(ctx context.Context, sh *shell.Shell, user kubeconfig.User) (string, error) {
	if user.Exec == nil {
		if user.Token == "" {
			return "", errors.New("there is no token")
		}
		return user.Token, nil
	}
	options, ours := credential.ParseArguments(user.Exec.Args)
	if !ours {
		return "", errors.New("there is no token of ours")
	}
	cache, err := credential.Open(sh, options.Storage)
	if err != nil {
		return "", err
	}
	token, err := cache.Load(ctx, options.Key())
	if err != nil || token == nil {
		return "", errors.Join(errors.New("there is no cached token"), err)
	}
	return token.Value, nil
}
