// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"time"

	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/target"
)

// liveTimeout bounds the question: somebody waits for a completion.
const liveTimeout = 3 * time.Second

// live asks the API server of a context for the names of the namespaces.
func live(ctx context.Context, sh *shell.Shell, config *kubeconfig.Config, name string) ([]string, error) {
	client, err := target.Client(ctx, sh, config, name, liveTimeout)
	if err != nil {
		return nil, err
	}
	return client.Namespaces(ctx)
}
