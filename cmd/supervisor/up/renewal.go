// SPDX-License-Identifier: Apache-2.0

package up

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/transport"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/cmd/supervisor/component"
	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/pki"
)

// renewal makes the certificates, and makes them anew in time while everything runs. It keeps the files true: servers
// and clients read them again by themselves, as the package's documentation says.
type renewal struct {
	store       pki.Store
	clock       clock.WithTicker
	authorities authorities
	hosts       []string // of the API
	dir         datadir.Dir
	server      string // URL of the API
}

// lookEvery is how often certificates that live that long are looked at.
func lookEvery(life time.Duration) time.Duration {
	return min(max(life/30, time.Second), time.Minute)
}

// refreshEvery is how often clients with a certificate of that life have to look whether it has changed: as often as
// client-go does by itself, or more often where it would end before.
func refreshEvery(life time.Duration) time.Duration {
	if life == 0 {
		return transport.CertCallbackRefreshDuration
	}
	return min(lookEvery(life), transport.CertCallbackRefreshDuration)
}

// issue makes what is due, and names it.
func (r *renewal) issue() (*certificates, []string, error) {
	certificates, made, err := issue(r.store, r.authorities, r.hosts)
	if err != nil {
		return nil, made, err
	}
	for _, kubeconfig := range []kubeconfig{
		{path: r.dir.AdminKubeconfig(), user: "admin", client: certificates.adminClient, whole: true},
		{path: r.dir.Kubeconfig(component.KubeControllerManager), user: component.KubeControllerManager,
			client: certificates.controllerManagerClient},
		{path: r.dir.Kubeconfig(component.VSphereAPIServer), user: component.VSphereAPIServer,
			client: certificates.vsphereAPIServerClient},
	} {
		if err := kubeconfig.write(r.server, r.authorities.clusterCA); err != nil {
			return nil, made, err
		}
	}
	return certificates, made, nil
}

// run renews until ctx is done, and says what it did. What fails is tried again.
func (r *renewal) run(ctx context.Context, say func(format string, args ...any)) {
	ticker := r.clock.NewTicker(lookEvery(r.store.Life))
	defer ticker.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
		_, made, err := r.issue()
		if len(made) > 0 {
			say("renewed certificates: %s", strings.Join(made, ", "))
		}
		trouble := ""
		if err != nil {
			trouble = fmt.Sprintf("cannot renew the certificates, trying again: %v", err)
			if trouble != told {
				say("%s", trouble)
			}
		}
		told = trouble
	}
}
