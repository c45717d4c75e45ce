// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
)

// madeHere is the uid of a machine that Pacific made.
const madeHere types.UID = "made-here"

type origins struct{}

func (origins) Created(_, _ string, uid types.UID) bool { return uid == madeHere }

// untold is the uid of a machine of which vCenter tells nothing now.
const untold types.UID = "untold"

func (origins) Told(_, _ string, uid types.UID) error {
	if uid == untold {
		return fmt.Errorf("its datastore is away: %w", failure.Unavailable)
	}
	return nil
}

// namespaces has team-a, which is being deleted when that is set.
type namespaces struct{ terminating atomic.Bool }

func (n *namespaces) Terminating(context.Context, string) (bool, error) {
	return n.terminating.Load(), nil
}

// grants gives team-a what is in it, of two content libraries.
// Of what else there may be in vCenter, unread has not been read.
type grants struct{ unread string }

func (*grants) Given(namespace string) (Given, error) {
	switch namespace {
	case "team-a":
	case "unread":
		return Given{}, failure.Unavailable
	default:
		return Given{}, failure.NotFound
	}
	limit := resource.MustParse("10Gi")
	return Given{
		Classes:   []string{"big", "small"},
		Libraries: []string{"Platform images"},
		Storage: []GivenStorage{{Policy: "Gold", Class: "gold"},
			{Policy: "Full", Class: "full", Limit: &limit, Used: limit}},
	}, nil
}

func (*grants) Libraries(_, image string) []string {
	return map[string][]string{"ubuntu": {"Other images", "Platform images"}, "secret": {"Other images"}}[image]
}

func (g *grants) Unread() string { return g.unread }

// server is a whole API server over a live store with the upstream cache.
type server struct {
	*kindtest.Server
	t        *testing.T
	world    *kindtest.World[v1alpha5.VirtualMachine]
	machines *registry.Resource[v1alpha5.VirtualMachine, v1alpha5.VirtualMachineList]
	grants   *grants
	around   *namespaces
}

// The upstream cache asks a package variable what the storage below it can do.
func TestMain(m *testing.M) {
	kindtest.UseLiveStores()
	os.Exit(m.Run())
}

func newServer(t *testing.T, machines ...*v1alpha5.VirtualMachine) *server {
	t.Helper()
	s := &server{t: t, world: &kindtest.World[v1alpha5.VirtualMachine]{}, grants: &grants{}, around: &namespaces{}}
	frame := kindtest.NewFrame(install.Install, kindtest.Clock{At: created.Add(50 * time.Hour)})
	var err error
	if s.machines, err = registry.ServeLive(frame,
		Kind(Surroundings{Origins: origins{}, Grants: s.grants, Namespaces: s.around, Clock: frame.Clock}),
		s.world); err != nil {
		t.Fatal(err)
	}
	s.machines.Project(s.world.Shown())
	for _, vm := range machines {
		vm.ResourceVersion = ""
	}
	s.world.ShowAll(machines...)
	s.Server = kindtest.Serve(t, frame, s.machines)
	return s
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
	return kindtest.Decode[T](t, kindtest.Answer{Code: a.code, Body: a.body})
}

func path(version, rest string) string {
	return "/apis/vmoperator.vmware.com/" + version + "/namespaces/team-a/virtualmachines" + rest
}

// do sends a request. body is sent as it is when it is a string, else as JSON.
func (s *server) do(method, path, contentType string, body any) answer {
	s.t.Helper()
	got := s.Do(method, path, body, "Content-Type", contentType)
	return answer{code: got.Code, header: got.Header, body: got.Body}
}

// stored returns what the live store holds.
func (s *server) stored(name string) *v1alpha5.VirtualMachine {
	s.t.Helper()
	vm, err := s.machines.Inside().Get(s.t.Context(), "team-a", name)
	if err != nil {
		s.t.Fatal(err)
	}
	return vm
}
