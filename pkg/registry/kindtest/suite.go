// SPDX-License-Identifier: Apache-2.0

package kindtest

import (
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/registry"
)

// Suite says how a kind is checked.
type Suite[T, L any] struct {
	// Install registers its types.
	Install func(*runtime.Scheme)
	// Kind describes it. Admin may do everything.
	Kind func() *registry.Kind[T, L]
	// Objects is where a declared kind is kept, for each check anew. Nil: the kind is one that vCenter holds.
	Objects func(t *testing.T) *registry.Objects
	// Object makes an object such as vCenter or a client would, different for each name. The frame's checks need no more
	// of it than that it is valid.
	Object func(namespace, name string) *T
	// Creates says that clients may create objects.
	Creates bool
	// Polled says that the kind is polled.
	Polled bool
}

// Run checks that a kind does what every kind does.
func Run[T, L any](t *testing.T, suite Suite[T, L]) {
	for name, check := range map[string]func(*checked[T, L]){
		"get, list and watch agree":       (*checked[T, L]).readsAgree,
		"what is offered can be spoken":   (*checked[T, L]).mediaTypes,
		"tables":                          (*checked[T, L]).tables,
		"field selectors":                 (*checked[T, L]).fields,
		"lists in chunks under changes":   (*checked[T, L]).chunks,
		"a watch goes on from a list":     (*checked[T, L]).goesOn,
		"who may not write is told so":    (*checked[T, L]).readOnly,
		"what is not the client's":        (*checked[T, L]).notTheirs,
		"a dry run changes nothing":       (*checked[T, L]).dryRun,
		"a stale update":                  (*checked[T, L]).stale,
		"a double create":                 (*checked[T, L]).double,
		"a deletion is of what was meant": (*checked[T, L]).deletion,
	} {
		t.Run(name, func(t *testing.T) { check(newChecked(t, suite)) })
	}
	if suite.Polled {
		t.Run("what was not read yet", func(t *testing.T) { unread(t, suite) })
	}
}

// checked is a kind that is served for one check.
type checked[T, L any] struct {
	Suite[T, L]
	*testing.T
	kind   *registry.Kind[T, L]
	served *registry.Resource[T, L]
	world  *World[T] // nil for a declared kind
	server *Server
}

func newChecked[T, L any](t *testing.T, suite Suite[T, L]) *checked[T, L] {
	t.Helper()
	c := &checked[T, L]{Suite: suite, T: t, kind: suite.Kind()}
	frame := NewFrame(suite.Install, clock.RealClock{})
	if suite.Objects == nil {
		c.world = &World[T]{}
	}
	var err error
	switch {
	case suite.Objects != nil:
		frame.Objects = suite.Objects(t)
		c.served, err = registry.ServeDeclared(frame, c.kind)
	case suite.Polled:
		c.served, err = registry.ServePolled(frame, c.kind, nil)
	case c.kind.Rules == nil:
		c.served, err = registry.ServeReadOnly(frame, c.kind)
	default:
		c.served, err = registry.ServeLive(frame, c.kind, c.world)
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.world != nil {
		c.served.Project(c.world.Shown())
		c.world.ShowAll()
	}
	c.server = Serve(t, frame, c.served)
	return c
}

// namespaces are those in which there are objects: for a kind that lies in none, only "".
func (c *checked[T, L]) namespaces() []string {
	if c.kind.Namespaced {
		return []string{"team-a", "team-b"}
	}
	return []string{""}
}

// fill makes objects of these names in each namespace.
func (c *checked[T, L]) fill(names ...string) {
	c.Helper()
	for _, namespace := range c.namespaces() {
		for _, name := range names {
			c.put(c.Object(namespace, name))
		}
	}
}

// put brings an object about, or a change of one.
func (c *checked[T, L]) put(object *T) {
	c.Helper()
	if c.Objects == nil {
		c.world.Show(object)
		return
	}
	if _, err := c.served.Inside().Create(c.Context(), object); err != nil {
		c.Fatal(err)
	}
}

// touch labels an object.
func (c *checked[T, L]) touch(namespace, name, value string) {
	c.Helper()
	if c.Objects == nil {
		object := c.Object(namespace, name)
		any(object).(metav1.Object).SetLabels(map[string]string{"touched": value})
		c.put(object)
		return
	}
	got := c.server.Do("PATCH", c.path(namespace, name), `{"metadata":{"labels":{"touched":"`+value+`"}}}`, "Content-Type",
		mergePatch)
	if got.Code != 200 {
		c.Fatalf("label %s: %d %s", name, got.Code, got.Body)
	}
}

// remove takes an object away, as vCenter or a client would.
func (c *checked[T, L]) remove(namespace, name string) {
	c.Helper()
	if c.Objects == nil {
		c.world.Hide(namespace, name)
		return
	}
	if got := c.server.Do("DELETE", c.path(namespace, name), nil); got.Code != 200 {
		c.Fatalf("delete %s: %d %s", name, got.Code, got.Body)
	}
	if c.kind.Finalizer == "" {
		return
	}
	waits, err := c.served.Inside().Get(c.Context(), namespace, name)
	if err != nil {
		c.Fatalf("it is gone before its controller has let go of it: %v", err)
	}
	if err := c.served.Inside().Release(c.Context(), namespace, name, any(waits).(metav1.Object).GetUID()); err != nil {
		c.Fatal(err)
	}
}

const mergePatch = "application/merge-patch+json"

// path is that of an object, or with an empty name of all in a namespace, at the hub.
func (c *checked[T, L]) path(namespace, name string) string {
	return c.pathAt(c.kind.Versions[0].Version, namespace, name)
}

func (c *checked[T, L]) pathAt(version, namespace, name string) string {
	path := "/apis/" + c.kind.Versions[0].Group + "/" + version
	if namespace != "" {
		path += "/namespaces/" + namespace
	}
	path += "/" + c.kind.Resource
	if name != "" {
		path += "/" + name
	}
	return path
}

// kindName is what objects of a type call themselves.
func kindName[T any]() string { return reflect.TypeFor[T]().Name() }
