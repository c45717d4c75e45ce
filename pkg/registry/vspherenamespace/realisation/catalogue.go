// SPDX-License-Identifier: Apache-2.0

package realisation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/namespace"
)

// namesInError is how many names an error lists.
const namesInError = 20

// Libraries knows vCenter's content libraries; contentlibrary.Catalogue does.
type Libraries interface {
	Names() []string
	// Synced says whether Names is known.
	Synced() bool
}

// changeNetwork takes in a network, a port group or an opaque network.
func (p *Projector) changeNetwork(told facts.Network) {
	if told.Uplinks {
		delete(p.networks, told.ID.Value)
		return
	}
	p.networks[told.ID.Value] = namespace.Decode(told.Name)
}

// Networks returns the names of the networks and port groups that machines may
// use, sorted. Several of one name, in different datacenters, are one.
func (p *Projector) Networks() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Compact(slices.Sorted(maps.Values(p.networks)))
}

// available checks that vCenter has the content libraries, networks and storage
// policies that object names and before did not: what was taken once may be
// renamed in vCenter without making the namespace unwritable.
func (b *Backend) available(before, object *v1alpha1.Namespace) error {
	if b.Libraries != nil && b.Libraries.Synced() {
		if err := named("spec.contentLibraries", "content library", before.Spec.ContentLibraries, object.Spec.ContentLibraries, b.Libraries.Names()); err != nil {
			return err
		}
	}
	if err := b.givable(before, object); err != nil {
		return err
	}
	return named("spec.networks", "network", before.Spec.Networks, object.Spec.Networks, b.Projector.Networks())
}

// named checks the names that are asked for and were not before.
func named(field, what string, before, asked, known []string) error {
	for _, name := range asked {
		switch {
		case slices.Contains(before, name) || slices.Contains(known, name):
		case len(known) == 0:
			return fmt.Errorf("%s: there is no %s %q, nor any other that the account may see in vCenter: %w", field, what, name, failure.Invalid)
		default:
			return fmt.Errorf("%s: there is no %s %q; there are: %s: %w", field, what, name, enumerate(known), failure.Invalid)
		}
	}
	return nil
}

// enumerate lists names, as many as somebody wants to read.
func enumerate(names []string) string {
	if more := len(names) - namesInError; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:namesInError], ", "), more)
	}
	return strings.Join(names, ", ")
}
