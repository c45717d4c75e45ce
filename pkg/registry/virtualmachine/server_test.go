// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	restclient "k8s.io/client-go/rest"
	basecompatibility "k8s.io/component-base/compatibility"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/apis/openapi"
	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/livestore"
)

// madeHere is the uid of a machine that Pacific made.
const madeHere types.UID = "made-here"

type origins struct{}

func (origins) Created(_, _ string, uid types.UID) bool { return uid == madeHere }

// namespaces has team-a, which is being deleted when that is set.
type namespaces struct{ terminating atomic.Bool }

func (n *namespaces) Terminating(context.Context, string) (bool, error) {
	return n.terminating.Load(), nil
}

// grants gives team-a what is in it, of two content libraries.
// Of what else there may be in vCenter, unread has not been read.
type grants struct{ unread string }

func (*grants) Given(namespace string) (Given, bool) {
	limit := resource.MustParse("10Gi")
	return Given{
		Classes:   []string{"big", "small"},
		Libraries: []string{"Platform images"},
		Storage:   []GivenStorage{{Policy: "Gold", Class: "gold"}, {Policy: "Full", Class: "full", Limit: &limit, Used: limit}},
	}, namespace == "team-a"
}

func (*grants) Libraries(image string) []string {
	return map[string][]string{"ubuntu": {"Other images", "Platform images"}, "secret": {"Other images"}}[image]
}

func (g *grants) Unread() string { return g.unread }

// world is an outside world in which every change succeeds at once. It fails with
// err while that is set.
type world struct {
	store *livestore.Store

	mutex sync.Mutex
	err   error
	first func() // called once, at the first change
}

func (w *world) fail(err error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.err = err
}

func (w *world) apply(key string, obj runtime.Object) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.first != nil {
		w.first()
		w.first = nil
	}
	w.store.Apply([]livestore.Change{{Key: key, Object: obj}})
	return nil
}

func (w *world) Create(_ context.Context, key string, obj runtime.Object) error {
	return w.apply(key, obj.DeepCopyObject())
}

func (w *world) Update(_ context.Context, key string, _, desired runtime.Object) error {
	return w.apply(key, desired.DeepCopyObject())
}

func (w *world) Delete(_ context.Context, key string, _ runtime.Object) error {
	return w.apply(key, nil)
}

// server is a whole API server over a live store with the upstream cache.
type server struct {
	*httptest.Server
	t        *testing.T
	world    *world
	machines *REST
	grants   *grants
	around   *namespaces
	api      *genericapiserver.GenericAPIServer
}

// The upstream cache asks a package variable what the storage below it can do.
func TestMain(m *testing.M) {
	feature.DefaultFeatureSupportChecker = livestore.FeatureSupport(feature.DefaultFeatureSupportChecker)
	os.Exit(m.Run())
}

func newServer(t *testing.T, machines ...*v1alpha5.VirtualMachine) *server {
	t.Helper()
	return newServerWith(t, livestore.NewSequence(1), machines...)
}

func newServerWith(t *testing.T, sequence *livestore.Sequence, machines ...*v1alpha5.VirtualMachine) *server {
	t.Helper()
	scheme := runtime.NewScheme()
	install.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme)

	outside := &world{}
	store, err := livestore.New(livestore.Config{
		GroupResource:  GroupResource(),
		Codec:          codecs.LegacyCodec(v1alpha5.GroupVersion),
		NewFunc:        func() runtime.Object { return &v1alpha5.VirtualMachine{} },
		NewListFunc:    func() runtime.Object { return &v1alpha5.VirtualMachineList{} },
		ResourcePrefix: "/virtualmachines",
		Backend:        outside,
		Sequence:       sequence,
	})
	if err != nil {
		t.Fatal(err)
	}
	outside.store = store
	seed := map[string]runtime.Object{}
	for _, vm := range machines {
		vm.ResourceVersion = ""
		seed[fmt.Sprintf("/virtualmachines/%s/%s", vm.Namespace, vm.Name)] = vm
	}
	store.Replace(seed)

	clock := testingclock.NewFakePassiveClock(created.Add(50 * time.Hour))
	given, around := &grants{}, &namespaces{}
	endpoints, err := NewREST(scheme, getter{codec: codecs.LegacyCodec(v1alpha5.GroupVersion), decorator: store.Decorator()}, origins{}, given, around, clock)
	if err != nil {
		t.Fatal(err)
	}

	config := genericapiserver.NewConfig(codecs)
	config.ExternalAddress = "127.0.0.1:443"
	config.PublicAddress = net.IPv4(127, 0, 0, 1)
	config.LoopbackClientConfig = &restclient.Config{}
	config.EffectiveVersion = basecompatibility.NewEffectiveVersionFromString("1.37", "", "")
	config.OpenAPIConfig, config.OpenAPIV3Config = openapi.Config(scheme, "Pacific", "v0")
	api, err := config.Complete(nil).New("test", genericapiserver.NewEmptyDelegate())
	if err != nil {
		t.Fatal(err)
	}
	group := genericapiserver.NewDefaultAPIGroupInfo(v1alpha5.GroupName, scheme, runtime.NewParameterCodec(scheme), codecs)
	for _, version := range install.Versions() {
		group.VersionedResourcesStorageMap[version.Version] = map[string]rest.Storage{
			"virtualmachines":        endpoints.VirtualMachine,
			"virtualmachines/status": endpoints.Status,
		}
	}
	if err := api.InstallAPIGroup(&group); err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(api.Handler)
	t.Cleanup(endpoints.VirtualMachine.Destroy)
	t.Cleanup(served.Close)
	started := &server{Server: served, t: t, api: api, world: outside, machines: endpoints.VirtualMachine, grants: given, around: around}
	started.waitReady()
	return started
}

// waitReady returns when the cache has been filled.
func (s *server) waitReady() {
	s.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for s.machines.ReadinessCheck() != nil {
		if time.Now().After(deadline) {
			s.t.Fatal("the cache was not ready within 10 s")
		}
		<-time.After(5 * time.Millisecond)
	}
}

type getter struct {
	codec     runtime.Codec
	decorator generic.StorageDecorator
}

func (g getter) GetRESTOptions(resource schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	config := storagebackend.NewDefaultConfig("", g.codec)
	config.EncodeVersioner = v1alpha5.GroupVersion
	return generic.RESTOptions{
		StorageConfig:           config.ForResource(resource),
		Decorator:               g.decorator,
		EnableGarbageCollection: true,
		ResourcePrefix:          resource.Resource,
	}, nil
}

// answer is what the server said.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

func (a answer) status(t *testing.T) metav1.Status {
	t.Helper()
	return decode[metav1.Status](t, a)
}

func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var object T
	if err := json.Unmarshal(a.body, &object); err != nil {
		t.Fatalf("decode %s: %v", a.body, err)
	}
	return object
}

func path(version, rest string) string {
	return "/apis/vmoperator.vmware.com/" + version + "/namespaces/team-a/virtualmachines" + rest
}

// do sends a request. body is sent as it is when it is a string, else as JSON.
func (s *server) do(method, path, contentType string, body any) answer {
	s.t.Helper()
	var data []byte
	switch body := body.(type) {
	case nil:
	case string:
		data = []byte(body)
	default:
		var err error
		if data, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
	}
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := s.Client().Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{code: response.StatusCode, header: response.Header, body: read}
}

// stored returns what the live store holds.
func (s *server) stored(name string) *v1alpha5.VirtualMachine {
	s.t.Helper()
	obj, err := s.machines.Store.Get(contextOf("team-a"), name, &metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return obj.(*v1alpha5.VirtualMachine)
}
