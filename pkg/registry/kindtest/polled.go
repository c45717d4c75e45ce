// SPDX-License-Identifier: Apache-2.0

package kindtest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/waittest"
)

// unread serves a polled kind of which nothing was read yet: it says so by itself, and nobody else is less ready for
// it.
func unread[T, L any](t *testing.T, suite Suite[T, L]) {
	var dead atomic.Bool
	dead.Store(true)
	// Whoever asks is not told that it is they who may not.
	ruins := fmt.Errorf("what it is read from lies in ruins: %w", failure.Forbidden)
	frame := NewFrame(suite.Install, clock.RealClock{})
	kind := suite.Kind()
	served, err := registry.ServePolled(frame, kind, func() error {
		if dead.Load() {
			return ruins
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	world := &World[T]{}
	served.Project(world.Shown())
	server := serve(t, frame, served)
	defer server.Close()
	defer registry.Destroy(served)
	served.Open()

	c := &checked[T, L]{Suite: suite, T: t, kind: kind, served: served, world: world, server: server}
	namespace := c.namespaces()[0]
	for _, path := range []string{
		c.path(namespace, ""), c.path(namespace, "") + "?resourceVersion=0", c.path(namespace, "one"),
		c.path("", "") + "?watch=true",
	} {
		got := server.Do("GET", path, nil)
		if got.Code != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" ||
			!strings.Contains(string(got.Body), ruins.Error()) {
			t.Errorf("%s: %d, retry after %q: %s", path, got.Code, got.Header.Get("Retry-After"), got.Body)
		}
	}
	if err := served.ReadinessCheck(); err == nil || !strings.Contains(err.Error(), ruins.Error()) {
		t.Errorf("its own check says %v", err)
	}
	if err := registry.Ready(served); err != nil {
		t.Errorf("the others are not ready for it: %v", err)
	}
	endpoint := served.Endpoints()[kind.Resource].(rest.StorageWithReadiness)
	if err := endpoint.ReadinessCheck(); err != nil {
		t.Errorf("the server waits for it: %v", err)
	}

	world.ShowAll(c.Object(namespace, "one"))
	waittest.Eventually(t, "it can be read", func() bool {
		return server.Do("GET", c.path(namespace, "one"), nil).Code == http.StatusOK
	})
	if err := served.ReadinessCheck(); !errors.Is(err, ruins) {
		t.Errorf("what cannot be read now does not show in its own check: %v", err)
	}
	dead.Store(false)
	if err := served.ReadinessCheck(); err != nil {
		t.Errorf("everything can be read, and its own check says %v", err)
	}
}
