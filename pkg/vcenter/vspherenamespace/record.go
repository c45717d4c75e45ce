// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

// recordVersion is the one version of records there is.
const recordVersion = 1

// Record is what vCenter cannot carry of a vSphere Namespace.
type Record struct {
	Version int `json:"version"`
	// Metadata is Kubernetes' own. The name is the one under which the namespace
	// was written: when its folder was renamed since, the folder's counts.
	Metadata metav1.ObjectMeta `json:"metadata"`
	// Spec is what was declared, but for the zones and resources, which follow.
	Spec v1alpha1.NamespaceSpec `json:"spec"`
	// Zones are those in which there is to be a resource pool.
	Zones []string `json:"zones,omitempty"`
	// Leaving are zones that are not wanted any more and in which there may still
	// be a pool that Pacific made, written down in Pools or not.
	Leaving []string `json:"leaving,omitempty"`
	// Resources are limits and reservations that have not reached the pools yet.
	// Nil: what the pools have counts.
	Resources *v1alpha1.NamespaceResources `json:"resources,omitempty"`
	// Applied are those that reached the pools last. A pool that is gone is made
	// again with its share of them.
	Applied *v1alpha1.NamespaceResources `json:"applied,omitempty"`
	// Folder is the managed-object id of the folder. Empty: it is the folder of
	// the namespace's name, if there is one by now.
	Folder string `json:"folder,omitempty"`
	// Bring: the folder lies elsewhere in vCenter and is to be moved into the
	// namespaces folder.
	Bring bool `json:"bring,omitempty"`
	// Pools are the managed-object ids of the pools, by zone.
	Pools map[string]string `json:"pools,omitempty"`
	// Kept are the ids of the folder and the pools that were there before Pacific
	// had anything to do with them. They are never destroyed.
	Kept []string `json:"kept,omitempty"`
}

// Encode returns the record as it is kept.
func (r *Record) Encode() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the record of vSphere Namespace %q: %w", r.Metadata.Name, err)
	}
	return data, nil
}

// Decode reads a record. It refuses one that it does not understand whole.
func Decode(data []byte) (*Record, error) {
	record := &Record{}
	if err := json.Unmarshal(data, record); err != nil {
		return nil, fmt.Errorf("decode the record of a vSphere Namespace: %w", err)
	}
	switch {
	case record.Version != recordVersion:
		return nil, fmt.Errorf("the record of vSphere Namespace %q has version %d, and this program knows %d alone", record.Metadata.Name, record.Version, recordVersion)
	case record.Metadata.UID == "" || record.Metadata.Name == "":
		return nil, fmt.Errorf("the record of a vSphere Namespace has no name or no uid")
	}
	return record, nil
}

func (r *Record) clone() *Record {
	c := *r
	c.Metadata = *r.Metadata.DeepCopy()
	c.Spec = *r.Spec.DeepCopy()
	c.Zones, c.Leaving = slices.Clone(r.Zones), slices.Clone(r.Leaving)
	c.Resources, c.Applied = r.Resources.DeepCopy(), r.Applied.DeepCopy()
	c.Pools = maps.Clone(r.Pools)
	c.Kept = slices.Clone(r.Kept)
	return &c
}

func (r *Record) uid() types.UID { return r.Metadata.UID }

func (r *Record) kept(id string) bool { return slices.Contains(r.Kept, id) }

func (r *Record) deleting() bool { return r.Metadata.DeletionTimestamp != nil }

// want sets the zones. Pools that are there already, in zones that Pacific has had
// nothing to do with, are somebody else's.
func (r *Record) want(zones []string, there map[string]pool) {
	for _, zone := range zones {
		pool, found := there[zone]
		if found && !slices.Contains(r.touched(), zone) && !r.kept(pool.id) {
			r.Kept = append(r.Kept, pool.id)
		}
	}
	left := r.touched()
	r.Zones = slices.Clone(zones)
	r.Leaving = slices.DeleteFunc(left, func(zone string) bool { return slices.Contains(zones, zone) })
}

// touched are the zones in which Pacific may have made a pool, in order.
func (r *Record) touched() []string {
	zones := slices.Concat(r.Zones, r.Leaving, slices.Collect(maps.Keys(r.Pools)))
	slices.Sort(zones)
	return slices.Compact(zones)
}

// take takes over what an object declares.
func (r *Record) take(object *v1alpha1.Namespace) {
	r.Version = recordVersion
	r.Metadata = *object.ObjectMeta.DeepCopy()
	r.Metadata.ResourceVersion, r.Metadata.SelfLink, r.Metadata.GenerateName = "", "", ""
	r.Spec = *object.Spec.DeepCopy()
	r.Spec.Zones, r.Spec.Resources = nil, v1alpha1.NamespaceResources{}
}
