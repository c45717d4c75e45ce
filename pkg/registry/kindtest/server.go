// SPDX-License-Identifier: Apache-2.0

package kindtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/feature"
	restclient "k8s.io/client-go/rest"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/openapi"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/waittest"
)

// UserHeader is the header that says who asks a Server; without it, Admin does.
const (
	UserHeader = "X-Test-User"
	Admin      = "admin"
)

// Clock is one that stands still where it is looked at, and by which waits go on.
type Clock struct {
	clock.RealClock
	At time.Time
}

// Now implements clock.PassiveClock.
func (c Clock) Now() time.Time { return c.At }

// Since implements clock.PassiveClock.
func (c Clock) Since(t time.Time) time.Duration { return c.At.Sub(t) }

// NewFrame returns a frame for types that install registers, in the first term.
func NewFrame(install func(*runtime.Scheme), clock clock.Clock) *registry.Frame {
	scheme := registry.NewScheme(install)
	return &registry.Frame{Scheme: scheme, Codecs: serializer.NewCodecFactory(scheme), Sequence: livestore.NewSequence(1),
		Clock: clock}
}

// UseLiveStores tells the upstream cache, by a variable of its package, what the storage below it can do. It belongs
// into TestMain.
func UseLiveStores() {
	feature.DefaultFeatureSupportChecker = livestore.FeatureSupport(feature.DefaultFeatureSupportChecker)
}

// Open shows what kinds were fed, and returns when they can be read. They end with the test.
func Open(t testing.TB, kinds ...registry.Served) {
	t.Helper()
	t.Cleanup(func() { registry.Destroy(kinds...) })
	for _, kind := range kinds {
		kind.Open()
	}
	for _, kind := range kinds {
		waittest.Eventually(t, kind.GroupResource().String()+" can be read",
			func() bool { return kind.ReadinessCheck() == nil })
	}
}

// Server is a whole API server over some kinds.
type Server struct {
	*httptest.Server
	API *genericapiserver.GenericAPIServer
	t   testing.TB
}

// Serve opens kinds and serves them over HTTP. It returns when they can be read.
func Serve(t testing.TB, frame *registry.Frame, kinds ...registry.Served) *Server {
	t.Helper()
	server := serve(t, frame, kinds...)
	Open(t, kinds...)
	t.Cleanup(server.Close)
	return server
}

// serve serves kinds that are not opened.
func serve(t testing.TB, frame *registry.Frame, kinds ...registry.Served) *Server {
	t.Helper()
	config := genericapiserver.NewConfig(frame.Codecs)
	config.ExternalAddress = "127.0.0.1:443"
	config.PublicAddress = net.IPv4(127, 0, 0, 1)
	config.LoopbackClientConfig = &restclient.Config{}
	config.Authorization.Authorizer = authorizerfactory.NewAlwaysAllowAuthorizer()
	config.EffectiveVersion = basecompatibility.NewEffectiveVersionFromString("1.37", "", "")
	config.OpenAPIConfig, config.OpenAPIV3Config = openapi.Config(frame.Scheme, "Pacific", "v0")
	config.BuildHandlerChainFunc = func(handler http.Handler, config *genericapiserver.Config) http.Handler {
		return genericapiserver.DefaultBuildHandlerChain(asSomebody(registry.Filters(handler)), config)
	}
	server, err := config.Complete(nil).New("test", genericapiserver.NewEmptyDelegate())
	if err != nil {
		t.Fatal(err)
	}
	if err := frame.Install(server, kinds...); err != nil {
		t.Fatal(err)
	}
	return &Server{Server: httptest.NewServer(server.Handler), API: server, t: t}
}

func asSomebody(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Header.Get(UserHeader)
		if name == "" {
			name = Admin
		}
		handler.ServeHTTP(w, r.WithContext(genericapirequest.WithUser(r.Context(), &user.DefaultInfo{Name: name})))
	})
}

// Answer is what a server said.
type Answer struct {
	Code   int
	Header http.Header
	Body   []byte
}

// Status is the answer as an API status.
func (a Answer) Status(t testing.TB) metav1.Status {
	t.Helper()
	return Decode[metav1.Status](t, a)
}

// Decode is an answer as what it is.
func Decode[T any](t testing.TB, a Answer) T {
	t.Helper()
	var object T
	if err := json.Unmarshal(a.Body, &object); err != nil {
		t.Fatalf("decode %d %s: %v", a.Code, a.Body, err)
	}
	return object
}

// Do sends a request. body is sent as it is when it is a string, else as JSON. Headers are pairs of name and value.
func (s *Server) Do(method, path string, body any, headers ...string) Answer {
	s.t.Helper()
	response := s.Send(method, path, body, headers...)
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return Answer{Code: response.StatusCode, Header: response.Header, Body: read}
}

// Send is Do for an answer that goes on: the caller closes its body.
func (s *Server) Send(method, path string, body any, headers ...string) *http.Response {
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
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] != "" {
			request.Header.Set(headers[i], headers[i+1])
		}
	}
	response, err := s.Client().Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	return response
}
