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
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/util/apihelpers"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	restclient "k8s.io/client-go/rest"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/component-base/metrics/legacyregistry"
	componentversion "k8s.io/component-base/version"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/access"
	"github.com/openpacific/pacific/pkg/apis/openapi"
	topologyinstall "github.com/openpacific/pacific/pkg/apis/topology/install"
	vmopinstall "github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	namespacecontroller "github.com/openpacific/pacific/pkg/controller/namespace"
	"github.com/openpacific/pacific/pkg/controller/storageclass"
	vmcontroller "github.com/openpacific/pacific/pkg/controller/virtualmachine"
	vnscontroller "github.com/openpacific/pacific/pkg/controller/vspherenamespace"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/login"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/contentlibrary"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/storagepolicy"
	topologyvcenter "github.com/openpacific/pacific/pkg/vcenter/topology"
	vmvcenter "github.com/openpacific/pacific/pkg/vcenter/virtualmachine"
	vnsvcenter "github.com/openpacific/pacific/pkg/vcenter/vspherenamespace"
	"github.com/openpacific/pacific/pkg/wirecache"
)

const (
	// namespaceWorkers and machineWorkers are how many Namespaces and machines
	// the controllers work on at once.
	namespaceWorkers = 4
	machineWorkers   = 16
	// leaseSeconds is how long a dead leader stays leader.
	leaseSeconds = 5
	// watchGrace is how long a shutdown waits for watches to end: without it, it
	// would wait for as long as clients keep them open.
	watchGrace = 2 * time.Second
	// clientQPS and clientBurst are for the controllers' requests to
	// kube-apiserver: as much as the library gives its own. By default it would be 5
	// in a second, and the Namespaces of 500 folders would take two minutes.
	clientQPS   = 200
	clientBurst = 400
)

// Run serves until ctx ends, or until something fails that only a new process
// can mend. It returns when all its goroutines have.
func Run(ctx context.Context, options *Options) error {
	logger := klog.FromContext(ctx)
	realClock := clock.RealClock{}

	records, closeRecords, err := openRecords(ctx, options.Records)
	if err != nil {
		return err
	}
	defer closeRecords()

	vcenterURL, err := options.VCenter.url()
	if err != nil {
		return err
	}
	session, err := vcenter.NewSession(vcenter.Config{
		URL:             vcenterURL,
		CredentialsFile: options.VCenter.CredentialsFile,
		CAFile:          options.VCenter.CAFile,
		Thumbprint:      options.VCenter.Thumbprint,
		Insecure:        options.VCenter.InsecureSkipTLSVerify,
		Logger:          logger.WithName("vcenter"),
		Clock:           realClock,
		Metrics:         vcenter.NewMetrics(legacyregistry.MustRegister),
	})
	if err != nil {
		return err
	}
	projector := vmvcenter.NewProjector(vmvcenter.Config{Clock: realClock, Logger: logger.WithName("projection")})
	vsphereNamespaces := vnsvcenter.NewProjector(vnsvcenter.Config{Clock: realClock, Logger: logger.WithName("vspherenamespaces")})
	zones := &topologyvcenter.Projector{}
	handler := handlers{projector, vsphereNamespaces, zones}
	var source Inventory = &inventory.Collector{
		Session:          session,
		Kinds:            inventoryKinds(),
		Handler:          handler,
		NamespacesFolder: options.VCenter.NamespacesFolder,
		Logger:           logger.WithName("inventory"),
		Clock:            realClock,
		Metrics:          inventory.NewMetrics(legacyregistry.MustRegister),
	}
	if options.Inventory != nil {
		source = options.Inventory(handler)
	}
	restSession := &vcenter.RESTSession{Session: session}
	policies := storagePolicies{&storagepolicy.Catalogue{Session: session, Handler: vsphereNamespaces, Logger: logger.WithName("storagepolicies"), Clock: realClock}}
	catalogue := &contentlibrary.Catalogue{Session: restSession, Logger: logger.WithName("contentlibraries"), Clock: realClock}
	leadership := &ledger.Leadership{
		Ledger:       records,
		Identity:     identity(),
		Alone:        len(options.Records.Servers) == 0 || !options.Records.LeaderElect,
		LeaseSeconds: leaseSeconds,
		Backoff:      wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 6, Cap: 5 * time.Second},
		Logger:       logger.WithName("leadership"),
	}

	scheme := runtime.NewScheme()
	vmopinstall.Install(scheme)
	installVSphereTypes(scheme)
	topologyinstall.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme)
	feature.DefaultFeatureSupportChecker = livestore.FeatureSupport(feature.DefaultFeatureSupportChecker)
	wirecache.KeepTables(apihelpers.GetMetaInternalVersionCodecs())
	sequence := &livestore.Sequence{}
	writer := &vcenter.Writer{Session: session, Reign: leadership, Following: func() error { return following(source.Status()) }}
	unavailable := func() error { return notReadYet(source.Status(), session.Err()) }
	machines, err := newMachineStore(codecs, &vmvcenter.Backend{
		Session: session, Writer: writer, Projector: projector, Refresher: source, Logger: logger.WithName("backend"),
	}, sequence, realClock, unavailable)
	if err != nil {
		return err
	}
	namespaceBackend := &vnsvcenter.Backend{
		Session: session, Writer: writer, Projector: vsphereNamespaces, Refresher: source,
		Documents: documents{&ledger.Documents{Ledger: records, Kind: "vspherenamespaces"}},
		Libraries: catalogue, StoragePolicies: policies.Catalogue,
		Logger: logger.WithName("vspherenamespaces"),
	}
	namespaceStore, err := newVSphereNamespaceStore(codecs, namespaceBackend, sequence, realClock, unavailable)
	if err != nil {
		return err
	}
	zoneStores, err := newZoneStores(codecs, sequence, realClock, unavailable)
	if err != nil {
		return err
	}

	config := genericapiserver.NewRecommendedConfig(codecs)
	config.OpenAPIConfig, config.OpenAPIV3Config = openapi.Config(scheme, "Pacific", componentversion.Get().String())
	config.EffectiveVersion = compatibility.DefaultComponentGlobalsRegistry.EffectiveVersionFor(basecompatibility.DefaultKubeComponent)
	if err := options.Generic.ApplyTo(config); err != nil {
		return fmt.Errorf("configure the API server: %w", err)
	}
	config.ShutdownWatchTerminationGracePeriod = watchGrace
	config.BuildHandlerChainFunc = func(handler http.Handler, config *genericapiserver.Config) http.Handler {
		return genericapiserver.DefaultBuildHandlerChain(clusterScoped(handler), config)
	}
	server, err := config.Complete().New("vsphere-apiserver", genericapiserver.NewEmptyDelegate())
	if err != nil {
		return fmt.Errorf("make the API server: %w", err)
	}
	clientConfig := restclient.CopyConfig(config.ClientConfig)
	clientConfig.QPS, clientConfig.Burst = clientQPS, clientBurst
	client, err := kubernetes.NewForConfig(clientConfig)
	if err != nil {
		return fmt.Errorf("make a client of kube-apiserver: %w", err)
	}
	namespaceInformers := informers.NewSharedInformerFactory(client, 0)
	entitlements := grants{namespaces: vsphereNamespaces, policies: policies, libraries: catalogue}
	storage, err := installMachines(server, scheme, codecs, machines, projector, entitlements, config.StorageObjectCountTracker, realClock)
	if err != nil {
		return err
	}
	reviewer, err := access.NewReviewer(config.Authorization.Authorizer, namespaceInformers.Rbac().V1().RoleBindings())
	if err != nil {
		return err
	}
	namespaceStorage, err := installVSphereNamespaces(server, scheme, codecs, namespaceStore, config.Authorization.Authorizer, reviewer,
		taken(namespaceInformers.Core().V1().Namespaces()), config.StorageObjectCountTracker, realClock)
	if err != nil {
		return err
	}
	if _, err := installZones(server, scheme, codecs, zoneStores, reviewer, config.StorageObjectCountTracker, realClock); err != nil {
		return err
	}
	loginLogger := logger.WithName("login")
	var logins *login.Service
	if options.Login.Port != 0 {
		logins = newLogin(options.Login, options.VCenter, session, projector, records, reviewer, loginLogger, realClock)
	}
	if err := addProbes(server, probes{
		session: session, inventory: source, leadership: leadership, records: records, storage: storage.VirtualMachine,
		clientCA: config.SecureServing.ClientCA, login: logins, clock: realClock,
	}); err != nil {
		return err
	}

	namespaces := &namespacecontroller.Controller{
		Folders:  folders{projector: projector, vsphereNamespaces: vsphereNamespaces, changed: projector.NamespacesChanged()},
		Records:  records,
		Client:   client.CoreV1().Namespaces(),
		Informer: namespaceInformers.Core().V1().Namespaces(),
		Clock:    realClock,
		Logger:   logger.WithName("namespaces"),
	}
	namespaceBackend.Folders = namespaces
	classes := &storageclass.Controller{
		Namespaces: registry.ListerWatcher(namespaceStorage.Direct),
		Policies:   policies,
		Client:     client,
		Informer:   namespaceInformers.Storage().V1().StorageClasses(),
		Core:       namespaceInformers.Core().V1().Namespaces(),
		Quotas:     namespaceInformers.Core().V1().ResourceQuotas(),
		Logger:     logger.WithName("storageclasses"),
	}
	given := &vnscontroller.Controller{
		Namespaces: registry.ListerWatcher(namespaceStorage.Direct),
		Backend:    namespaceBackend,
		Problems:   vsphereNamespaces,
		Machines:   doomed{machines: storage.VirtualMachine, origins: projector},
		Releaser:   namespaceStorage.Direct,
		Detached:   namespaces.Detached,
		Client:     client,
		Core:       namespaceInformers.Core().V1().Namespaces(),
		Bindings:   namespaceInformers.Rbac().V1().RoleBindings(),
		Quotas:     namespaceInformers.Core().V1().ResourceQuotas(),
		Classes:    classes,
		Clock:      realClock,
		Logger:     logger.WithName("vspherenamespaces"),
	}
	declared := &vmcontroller.Controller{
		Machines:   registry.ListerWatcher(storage.VirtualMachine),
		Releaser:   releaser{storage.VirtualMachine},
		Power:      power{Power: vmvcenter.Power{Session: session, Writer: writer, Clock: realClock}, projector: projector},
		Conditions: projector,
		Clock:      realClock,
		Logger:     logger.WithName("machines"),
	}

	running, ctx := errgroup.WithContext(ctx)
	// Logins are answered on every replica, and with few reviews where the
	// RoleBindings are known. The other informers start with the leadership.
	namespaceInformers.StartWithContext(ctx)
	if logins != nil {
		if err := login.ForbidCoreDumps(); err != nil {
			loginLogger.Error(err, "A core dump of this process could hold a password")
		}
		running.Go(func() error { return logins.Run(ctx) })
		running.Go(func() error {
			return serveLogin(ctx, logins, options.Login, config.SecureServing.Cert, config.ClientConfig, loginLogger)
		})
	}
	running.Go(func() error { return session.Run(ctx) })
	running.Go(func() error { return source.Run(ctx) })
	if options.Inventory == nil { // else there is no vCenter
		running.Go(func() error { return policies.Run(ctx) })
		running.Go(func() error {
			defer restSession.Logout(ctx)
			return catalogue.Run(ctx)
		})
	}
	running.Go(func() error {
		return leadership.Run(ctx, func(term uint64) {
			sequence.Begin(term)
			running.Go(func() error {
				// Nothing is served before the detached folders are hidden.
				if err := untilDone(ctx, logger, "Cannot read the detached folders, trying again", namespaces.Restore); err != nil {
					return nil // ctx ended
				}
				projector.Attach(machines)
				namespaceInformers.Core().V1().Namespaces().Informer()
				namespaceInformers.Core().V1().ResourceQuotas().Informer()
				namespaceInformers.Storage().V1().StorageClasses().Informer()
				namespaceInformers.StartWithContext(ctx)
				running.Go(func() error { return namespaces.Run(ctx, namespaceWorkers) })
				running.Go(func() error {
					identified := session
					if options.Inventory != nil {
						identified = nil // there is no vCenter
					}
					instance, err := restoreRecords(ctx, identified, namespaceBackend, logger)
					if err != nil {
						return nil // ctx ended
					}
					zones.Attach(instance, zoneStores.availabilityZones, zoneStores.zones)
					vsphereNamespaces.Attach(mirrors{namespaceStore, zones.Namespaces()})
					running.Go(func() error { return vsphereNamespaces.Run(ctx) })
					running.Go(func() error { return classes.Run(ctx) })
					return given.Run(ctx, namespaceWorkers)
				})
				return declared.Run(ctx, machineWorkers)
			})
		})
	})
	running.Go(func() error { return server.PrepareRun().RunWithContext(ctx) })
	err = running.Wait()
	namespaceInformers.Shutdown()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// untilDone calls f until it succeeds, with pauses that grow; it fails only when
// ctx ends. failing is what is logged of a failure.
func untilDone(ctx context.Context, logger klog.Logger, failing string, f func(context.Context) error) error {
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 7, Cap: 5 * time.Second}
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		delay := backoff.Step()
		logger.Error(err, failing, "retryIn", delay)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
	}
}

// openRecords opens the external etcd, or starts the one inside this process.
func openRecords(ctx context.Context, options RecordsOptions) (*ledger.Ledger, func(), error) {
	open := func(client *clientv3.Client) *ledger.Ledger {
		return &ledger.Ledger{Client: client, Prefix: options.Prefix, Clock: clock.RealClock{}}
	}
	if len(options.Servers) > 0 {
		client, err := ledger.Dial(ledger.Server{Endpoints: options.Servers, CAFile: options.CAFile, CertFile: options.CertFile, KeyFile: options.KeyFile})
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

// inventoryKinds are the managed objects that the projections are made of. Of those
// that both look at, the machines' has all that the other needs.
func inventoryKinds() []inventory.Kind {
	return []inventory.Kind{
		{Type: vmvcenter.TypeVirtualMachine, Root: inventory.RootNamespaces, Paths: vmvcenter.Paths(), Reduce: vmvcenter.Reduce},
		{Type: vmvcenter.TypeFolder, Root: inventory.RootNamespaces, Paths: vmvcenter.FolderPaths()},
		{Type: vmvcenter.TypeHost, Root: inventory.RootInventory, Paths: vmvcenter.HostPaths()},
		{Type: vmvcenter.TypeCluster, Root: inventory.RootInventory, Paths: vmvcenter.ClusterPaths()},
		{Type: vnsvcenter.TypeResourcePool, Root: inventory.RootInventory, Paths: vnsvcenter.ResourcePoolPaths()},
		{Type: vnsvcenter.TypeNetwork, Root: inventory.RootInventory, Paths: vnsvcenter.NetworkPaths()},
	}
}

// identity names this process among the replicas.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "_" + uuid.NewString()
}
