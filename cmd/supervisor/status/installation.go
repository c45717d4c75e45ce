// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/cmd/supervisor/component"
	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/pkg/apiserver"
	"github.com/openpacific/pacific/pkg/ledger"
)

// installationTimeout is how long etcd may take: whoever asks for the status waits.
const installationTimeout = 2 * time.Second

// installation asks the Supervisor's etcd for the id by which it knows its own records in vCenter, "" when there is
// none yet.
func installation(ctx context.Context, dir datadir.Dir) (string, error) {
	ports, err := dir.ReadPorts()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, installationTimeout)
	defer cancel()
	pki := dir.PKI()
	client, err := ledger.Dial(ledger.Server{
		Endpoints: []string{"https://127.0.0.1:" + strconv.Itoa(ports[component.Etcd])},
		CAFile:    filepath.Join(pki, "etcd-ca.crt"),
		CertFile:  filepath.Join(pki, "supervisor-etcd-client.crt"),
		KeyFile:   filepath.Join(pki, "supervisor-etcd-client.key"),
	})
	if err != nil {
		return "", err
	}
	defer client.Close()
	return (&ledger.Ledger{Client: client, Prefix: apiserver.NewOptions().Records.Prefix,
		Clock: clock.RealClock{}}).Installed(ctx)
}
