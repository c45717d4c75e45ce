// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
)

// The types of managed object, and the properties, that the tests make an inventory of.
const (
	TypeVirtualMachine = facts.TypeMachine
	TypeFolder         = facts.TypeFolder
	TypeHost           = facts.TypeHost
	TypeCluster        = facts.TypeCluster
)

// fed is a Projector with the picture that it follows.
type fed struct {
	*Projector
	picture *picture.Picture
}

func newFed(config Config) *fed {
	p := NewProjector(config)
	return &fed{p, &picture.Picture{Followers: []facts.Follower{p}, Keys: keys()}}
}

func (f *fed) Apply(update inventory.Update) { f.picture.Apply(update) }

func (f *fed) SetDetached(folders map[string]bool) { f.picture.SetDetached(folders) }

func (f *fed) SetNames(names namespace.Names) { f.picture.SetNames(names) }
