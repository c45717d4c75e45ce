// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/compatibility"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/component-base/metrics/legacyregistry"
	componentversion "k8s.io/component-base/version"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/access"
	"github.com/openpacific/pacific/pkg/apis/openapi"
	"github.com/openpacific/pacific/pkg/controller/readiness"
	vmservicecontroller "github.com/openpacific/pacific/pkg/controller/virtualmachineservice"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

const (
	// leaseSeconds is how long a dead leader stays leader.
	leaseSeconds = 5
	// recordsPatience is how long a start waits for etcd.
	recordsPatience = 30 * time.Second
	// watchGrace is how long a shutdown waits for watches to end: without it, it
	// would wait for as long as clients keep them open.
	watchGrace = 2 * time.Second
)

// Run serves until ctx ends, or until something fails that only a new process
// can mend. It returns when all its goroutines have.
func Run(ctx context.Context, options *Options) error {
	logger := klog.FromContext(ctx)
	records, closeRecords, err := openRecords(ctx, options.Records)
	if err != nil {
		return err
	}
	defer closeRecords()
	installation, err := identify(ctx, records, options.Records, logger)
	if err != nil {
		return err
	}
	keys, err := readKeys(ctx, records, options.Records, logger)
	if err != nil {
		return err
	}
	leadership := newLeadership(records, options.Records, logger)
	site, err := newSite(options, installation, machine.NewKeys(keys[0].Bytes, secretsOf(keys[1:])...), records, leadership, legacyregistry.MustRegister, logger)
	if err != nil {
		return err
	}
	prepareLibrary()
	frame := newFrame(site.unavailable, records, leadership.Holds)
	server, config, err := newServer(options.Generic, frame)
	if err != nil {
		return err
	}
	cluster, err := newCluster(ctx, config.ClientConfig, leadership)
	if err != nil {
		return err
	}
	defer cluster.close()
	reviewer, err := access.NewReviewer(config.Authorization.Authorizer, cluster.informers.Rbac().V1().RoleBindings())
	if err != nil {
		return err
	}
	balanced, err := vmservicecontroller.ParsePool(options.LoadBalancerAddresses)
	if err != nil {
		return err
	}
	guests, err := guestaddress.Parse(options.GuestNetwork)
	if err != nil {
		return err
	}
	probed, err := readiness.ParseRanges(options.ProbedNetworks)
	if err != nil {
		return err
	}
	folders := newFolders(site, cluster, records, logger)
	namespaces := newNamespaceBackend(site, records, folders, logger)
	kinds, err := serve(server, frame, site, cluster, reviewer, config, namespaces, records, logger)
	if err != nil {
		return err
	}
	logins, loginTasks := newLogins(options, config, site, records, reviewer, logger.WithName("login"))
	if err := addProbes(server, probes{
		session: site.session, inventory: site.source, leadership: leadership, records: records, kinds: kinds.all,
		clientCA: config.SecureServing.ClientCA, login: logins, clock: clock.RealClock{},
	}); err != nil {
		return err
	}
	return lifecycle{
		leadership: leadership,
		ground:     site.tasks(),
		always: append(loginTasks,
			func(ctx context.Context) error { cluster.informers.StartWithContext(ctx); return nil },
			func(ctx context.Context) error { return server.PrepareRun().RunWithContext(ctx) }),
		begin: func(ctx context.Context, term uint64) error {
			if err := sameKeys(ctx, records, options.Records, keys, logger); err != nil {
				return err
			}
			cluster.follow(ctx)
			return kinds.begin(ctx, frame, term, site, namespaces, folders, logger)
		},
		serving: []task{site.namespaces.Run},
		reigning: controllers(site, kinds, namespaces, cluster, folders, balanced, guests, probed,
			logger),
	}.run(ctx)
}

// newServer configures an API server for kinds that are not installed yet.
func newServer(options *genericoptions.RecommendedOptions,
	frame *registry.Frame) (*genericapiserver.GenericAPIServer, *genericapiserver.RecommendedConfig, error) {
	config := genericapiserver.NewRecommendedConfig(frame.Codecs)
	config.OpenAPIConfig, config.OpenAPIV3Config = openapi.Config(frame.Scheme, "Pacific", componentversion.Get().String())
	config.EffectiveVersion = compatibility.DefaultComponentGlobalsRegistry.EffectiveVersionFor(
		basecompatibility.DefaultKubeComponent)
	if err := options.ApplyTo(config); err != nil {
		return nil, nil, fmt.Errorf("configure the API server: %w", err)
	}
	config.ShutdownWatchTerminationGracePeriod = watchGrace
	config.BuildHandlerChainFunc = func(handler http.Handler, config *genericapiserver.Config) http.Handler {
		return genericapiserver.DefaultBuildHandlerChain(registry.Filters(handler), config)
	}
	server, err := config.Complete().New("vsphere-apiserver", genericapiserver.NewEmptyDelegate())
	if err != nil {
		return nil, nil, fmt.Errorf("make the API server: %w", err)
	}
	return server, config, nil
}

// identify returns the id of this installation. Without it nothing can be told that
// lies in vCenter.
func identify(ctx context.Context, records *ledger.Ledger, options RecordsOptions,
	logger klog.Logger) (installation string, err error) {
	err = patiently(ctx, logger, "Cannot read the id of this installation, trying again",
		func(ctx context.Context) error {
			installation, err = records.Installation(ctx, options.Installation)
			return err
		})
	switch {
	case errors.Is(err, failure.Invalid):
		return "", fmt.Errorf("--installation-id: %w: drop the flag, or give another --etcd-prefix", err)
	case err != nil:
		return "", err
	}
	logger.Info("Records in vCenter are told by the id of this installation", "installation", installation)
	return installation, nil
}

// patiently does what a start needs of etcd, which is waited for, though not for ever.
// What is Invalid is not tried again.
func patiently(ctx context.Context, logger klog.Logger, failing string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, recordsPatience)
	defer cancel()
	var last error
	ended := untilDone(ctx, logger, failing, func(ctx context.Context) error {
		if last = f(ctx); errors.Is(last, failure.Invalid) {
			return nil
		}
		return last
	})
	if last == nil {
		return ended
	}
	return last
}

// newLeadership stands for this process among the replicas.
func newLeadership(records *ledger.Ledger, options RecordsOptions, logger klog.Logger) *ledger.Leadership {
	return &ledger.Leadership{
		Ledger:       records,
		Identity:     replicaName(),
		Alone:        len(options.Servers) == 0 || !options.LeaderElect,
		LeaseSeconds: leaseSeconds,
		Backoff:      wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 6, Cap: 5 * time.Second},
		Logger:       logger.WithName("leadership"),
	}
}

// openRecords opens the external etcd, or starts the one inside this process.
func openRecords(ctx context.Context, options RecordsOptions) (*ledger.Ledger, func(), error) {
	open := func(client *clientv3.Client) *ledger.Ledger {
		return &ledger.Ledger{Client: client, Prefix: options.Prefix, Clock: clock.RealClock{}}
	}
	if len(options.Servers) > 0 {
		client, err := ledger.Dial(ledger.Server{Endpoints: options.Servers, CAFile: options.CAFile,
			CertFile: options.CertFile, KeyFile: options.KeyFile})
		if err != nil {
			return nil, nil, err
		}
		return open(client), func() { _ = client.Close() }, nil
	}
	embedded, err := ledger.Embed(ctx, options.DataDir)
	if err != nil {
		return nil, nil, err
	}
	return open(embedded.Client()), func() {
		if err := embedded.Close(); err != nil {
			klog.FromContext(ctx).Error(err, "Cannot stop the embedded etcd cleanly")
		}
	}, nil
}

// replicaName names this process among the replicas.
func replicaName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "_" + uuid.NewString()
}
