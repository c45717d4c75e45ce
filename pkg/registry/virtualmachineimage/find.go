// SPDX-License-Identifier: Apache-2.0

package virtualmachineimage

import (
	"cmp"
	"slices"

	"github.com/openpacific/pacific/pkg/facts"
)

// Found is an image that a name stands for.
type Found struct {
	// Kind and Name are those of the image.
	Kind, Name string
	// Item is what it is made of. It is shared and never changed.
	Item *facts.Item
}

// Find returns the images that a name stands for in a namespace: the one that is called so, else those whose items are; in
// both cases those of the namespace before those of the whole cluster. More than one is for people to decide between.
func (p *Projection) Find(namespace, name string) []Found {
	p.mu.Lock()
	defer p.mu.Unlock()
	places := []struct {
		kind string
		at   *place
	}{{"VirtualMachineImage", p.namespaces[namespace]}, {"ClusterVirtualMachineImage", &p.cluster}}
	for _, place := range places {
		if place.at == nil {
			continue
		}
		if image := place.at.shown[name]; image != nil {
			return []Found{{Kind: place.kind, Name: image.name, Item: image.item}}
		}
	}
	for _, place := range places {
		if place.at == nil {
			continue
		}
		var all []Found
		for _, image := range place.at.shown {
			if image.status.Name == name {
				all = append(all, Found{Kind: place.kind, Name: image.name, Item: image.item})
			}
		}
		if len(all) > 0 {
			slices.SortFunc(all, func(a, b Found) int { return cmp.Compare(a.Name, b.Name) })
			return all
		}
	}
	return nil
}
