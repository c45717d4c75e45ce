// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/find"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/kubernetes/fake"
	restclient "k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/component-base/metrics"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/access"
	"github.com/openpacific/pacific/pkg/apis/openapi"
	"github.com/openpacific/pacific/pkg/controller/virtualmachineservice"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/registry"
	vcmachine "github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// world is what outlives each replica: etcd, and the cluster's own objects.
type world struct {
	t       *testing.T
	etcd    *ledger.Embedded
	objects clienttesting.ObjectTracker

	mu     sync.Mutex
	writes []write // to kube-apiserver, in their order
}

// write is one that some replica made.
type write struct{ replica, verb, resource, name string }

// prepared is done before the first replica of all tests.
var prepared = sync.OnceFunc(prepareLibrary)

func newWorld(t *testing.T) *world {
	t.Helper()
	prepared()
	etcd, err := ledger.Embed(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcd.Close() })
	return &world{t: t, etcd: etcd, objects: fake.NewClientset().Tracker()}
}

// by returns the writes of a replica.
func (w *world) by(replica string) []write {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.writes), func(made write) bool { return made.replica != replica })
}

// client is a client of the cluster, which writes as the real one does: in a reign.
func (w *world) client(replica string, reign interface{ Holds() error }) *fake.Clientset {
	client := &fake.Clientset{}
	client.AddReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		switch action.GetVerb() {
		case "get", "list":
			return false, nil, nil
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if err := reign.Holds(); err != nil {
			return true, nil, err
		}
		made := write{replica: replica, verb: action.GetVerb(), resource: action.GetResource().Resource}
		if named, ok := action.(interface{ GetName() string }); ok {
			made.name = named.GetName()
		}
		w.writes = append(w.writes, made)
		if created, ok := action.(clienttesting.CreateAction); ok {
			if quota, ok := created.GetObject().(*corev1.ResourceQuota); ok {
				quota.Status.Hard = quota.Spec.Hard // as kube-controller-manager would
			}
		}
		return false, nil, nil
	})
	client.AddReactor("*", "*", clienttesting.ObjectReaction(w.objects))
	client.AddWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		options := metav1.ListOptions{}
		if watched, ok := action.(clienttesting.WatchActionImpl); ok {
			options = watched.ListOptions
		}
		events, err := w.objects.Watch(action.GetResource(), action.GetNamespace(), options)
		return true, events, err
	})
	return client
}

// replica is all of a server but its HTTP listener.
type replica struct {
	*world
	name       string
	leadership *ledger.Leadership
	site       *site
	kinds      *kinds
	stop       context.CancelFunc
	done       chan error   // closed after it told how it ended
	requests   sync.RWMutex // Held for reading by each request under way.
}

const testLease = 2 // seconds, the least that etcd grants

// start starts a replica on a vCenter. tune may change its leadership before.
func (w *world) start(name string, v *vcentertest.VCenter, tune func(*ledger.Leadership)) *replica {
	w.t.Helper()
	logger, ctx := ktesting.NewTestContext(w.t)
	logger = logger.WithValues("replica", name)
	ctx, stop := context.WithCancel(ctx)
	options := NewOptions()
	options.VCenter.URL, options.VCenter.CAFile = v.URL().String(), v.CAFile(w.t)
	options.VCenter.CredentialsFile = v.CredentialsFile(w.t)
	records := &ledger.Ledger{Client: w.etcd.Client(), Prefix: "/pacific", Clock: clock.RealClock{}}
	installation, err := identify(ctx, records, options.Records, logger)
	if err != nil {
		w.t.Fatal(err)
	}
	keys, err := readKeys(ctx, records, options.Records, logger)
	if err != nil {
		w.t.Fatal(err)
	}
	leadership := newLeadership(records, RecordsOptions{Servers: []string{"shared"}, LeaderElect: true}, logger)
	leadership.Identity, leadership.LeaseSeconds = name, testLease
	if tune != nil {
		tune(leadership)
	}
	r := &replica{world: w, name: name, leadership: leadership, stop: stop, done: make(chan error, 1)}
	register := metrics.NewKubeRegistry().MustRegister
	if r.site, err = newSite(options, installation, vcmachine.NewKeys(keys[0].Bytes, secretsOf(keys[1:])...), records, leadership, register,
		logger); err != nil {
		w.t.Fatal(err)
	}
	frame := newFrame(r.site.unavailable, records, leadership.Holds)
	server, config := w.server(frame)
	cluster := clusterOf(ctx, w.client(name, leadership))
	reviewer, err := access.NewReviewer(config.Authorization.Authorizer, cluster.informers.Rbac().V1().RoleBindings())
	if err != nil {
		w.t.Fatal(err)
	}
	folders := newFolders(r.site, cluster, records, logger)
	namespaces := newNamespaceBackend(r.site, records, folders, logger)
	if r.kinds, err = serve(server, frame, r.site, cluster, reviewer, config, namespaces, records, logger); err != nil {
		w.t.Fatal(err)
	}
	life := lifecycle{
		leadership: leadership,
		ground:     r.site.tasks(),
		always: []task{
			func(ctx context.Context) error { cluster.informers.StartWithContext(ctx); return nil },
			func(ctx context.Context) error { // as the API server does, it ends with the last request
				<-ctx.Done()
				r.requests.Lock()
				defer r.requests.Unlock()
				return nil
			},
		},
		begin: func(ctx context.Context, term uint64) error {
			if err := sameKeys(ctx, records, options.Records, keys, logger); err != nil {
				return err
			}
			cluster.follow(ctx)
			return r.kinds.begin(ctx, frame, term, r.site, namespaces, folders, logger)
		},
		serving: []task{r.site.namespaces.Run},
		reigning: controllers(r.site, r.kinds, namespaces, cluster, folders, virtualmachineservice.Pool{},
			guestaddress.Network{}, nil, logger),
	}
	go func() {
		defer close(r.done)
		err := life.run(ctx)
		cluster.close()
		r.done <- err
	}()
	w.t.Cleanup(func() {
		stop()
		for range r.done {
		}
		server.Destroy()
	})
	return r
}

// server is one that does not listen.
func (w *world) server(frame *registry.Frame) (*genericapiserver.GenericAPIServer,
	*genericapiserver.RecommendedConfig) {
	w.t.Helper()
	config := genericapiserver.NewRecommendedConfig(frame.Codecs)
	config.OpenAPIConfig, config.OpenAPIV3Config = openapi.Config(frame.Scheme, "Pacific", "test")
	config.EffectiveVersion = compatibility.DefaultComponentGlobalsRegistry.EffectiveVersionFor(
		basecompatibility.DefaultKubeComponent)
	config.ExternalAddress, config.PublicAddress = "localhost:443", net.IPv4(127, 0, 0, 1)
	config.LoopbackClientConfig = &restclient.Config{}
	config.Authorization.Authorizer = authorizerfactory.NewAlwaysAllowAuthorizer()
	server, err := config.Config.Complete(nil).New("vsphere-apiserver", genericapiserver.NewEmptyDelegate())
	if err != nil {
		w.t.Fatal(err)
	}
	return server, config
}

func (r *replica) ended() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(30 * time.Second):
		r.t.Fatalf("%s does not end", r.name)
		return nil
	}
}

// loseLease ends the lease of whoever leads, as an etcd that was away for long does.
func (w *world) loseLease() {
	w.t.Helper()
	first := clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)
	leader, err := w.etcd.Client().Get(w.t.Context(), "/pacific/leader", clientv3.WithPrefix(), first)
	if err != nil || len(leader.Kvs) == 0 {
		w.t.Fatalf("nobody leads: %v", err)
	}
	if _, err := w.etcd.Client().Revoke(w.t.Context(), clientv3.LeaseID(leader.Kvs[0].Lease)); err != nil {
		w.t.Fatal(err)
	}
}

func (r *replica) get(name string) (*vmopv1.VirtualMachine, error) {
	namespace, name, _ := strings.Cut(name, "/")
	return r.kinds.machines.Inside().Get(r.t.Context(), namespace, name)
}

func (r *replica) change(name string, change func(*vmopv1.VirtualMachine)) error {
	r.requests.RLock()
	defer r.requests.RUnlock()
	namespace, name, _ := strings.Cut(name, "/")
	return r.kinds.machines.Inside().Update(r.t.Context(), namespace, name, change)
}

func (r *replica) label(name, value string) error {
	return r.change(name, func(vm *vmopv1.VirtualMachine) { metav1.SetMetaDataLabel(&vm.ObjectMeta, "n", value) })
}

// serves waits until a replica serves a machine and may write it.
func (r *replica) serves(name string) {
	r.t.Helper()
	waittest.Eventually(r.t, r.name+" serves "+name, func() bool {
		_, err := r.get(name)
		return err == nil && r.site.writer.Ready() == nil
	})
}

// powered waits until a machine has a power state.
func (r *replica) powered(name string, state vmopv1.VirtualMachinePowerState) {
	r.t.Helper()
	waittest.Eventually(r.t, name+" is "+string(state), func() bool {
		vm, err := r.get(name)
		return err == nil && vm.Status.PowerState == state
	})
}

// unavailable says whether an error is one that a client is to try again after.
func unavailable(err error) bool {
	return errors.Is(err, failure.Unavailable) || apierrors.IsServiceUnavailable(err)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

type held bool

func (h held) Holds() error {
	if h {
		return nil
	}
	return failure.Unavailable
}

// renameFolder does what somebody does in the vSphere Client.
func renameFolder(t *testing.T, v *vcentertest.VCenter, path, name string) {
	t.Helper()
	b, err := v.Builder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	folder, err := find.NewFinder(b.Client.Client).Folder(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	task, err := folder.Rename(t.Context(), name)
	if err == nil {
		err = task.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// switchPower does what somebody does in the vSphere Client.
func switchPower(t *testing.T, v *vcentertest.VCenter, name string, on bool) {
	t.Helper()
	b, err := v.Builder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	vm, err := find.NewFinder(b.Client.Client).VirtualMachine(t.Context(), "/DC0/vm/Namespaces/"+name)
	if err != nil {
		t.Fatal(err)
	}
	change := vm.PowerOff
	if on {
		change = vm.PowerOn
	}
	task, err := change(t.Context())
	if err == nil {
		err = task.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// higher says whether one version is above another one.
func higher(now, before string) (bool, error) {
	order, err := resourceversion.CompareResourceVersion(now, before)
	return order > 0, err
}
