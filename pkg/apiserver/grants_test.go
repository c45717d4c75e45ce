// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"errors"
	"testing"

	"github.com/openpacific/pacific/pkg/failure"
	vnsprojection "github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
)

// TestNothingIsGivenBeforeItIsRead: a projection that has begun may show folders whose records are yet to be read, which
// nothing was given then. Only once the kind can be read does that count, and so does that there is no such Namespace.
func TestNothingIsGivenBeforeItIsRead(t *testing.T) {
	unread := errors.New("the inventory has not been read")
	g := grants{namespaces: &vnsprojection.Projector{}, unread: func() error { return unread }}
	if _, err := g.Given("team-a"); !errors.Is(err, failure.Unavailable) {
		t.Errorf("while nothing is known: %v", err)
	}
	unread = nil
	if _, err := g.Given("team-a"); !errors.Is(err, failure.NotFound) {
		t.Errorf("once it is known: %v", err)
	}
}
