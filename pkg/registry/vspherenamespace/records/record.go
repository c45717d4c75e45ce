// SPDX-License-Identifier: Apache-2.0

package records

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
)

// recordVersion is the one version of records there is.
const recordVersion = 2

// Stored is a record and the revision of the document that it is kept in.
type Stored struct {
	*Record
	Revision int64
}

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
	// Folder is the folder. Zero: it is yet to be made.
	Folder facts.ID `json:"folder,omitzero"`
	// Bring: the folder is to be taken over. One that lies elsewhere in vCenter is
	// moved into the namespaces folder, one that is detached is attached.
	Bring bool `json:"bring,omitempty"`
	// Pools are the pools, by zone.
	Pools map[string]facts.ID `json:"pools,omitempty"`
	// Kept are the folder and the pools that were there before Pacific had anything
	// to do with them. They are never destroyed.
	Kept []facts.ID `json:"kept,omitempty"`
	// Seen is how the folder and the pools were called and where they lay when they
	// were seen last. What has the id and is not that is something else: of a vCenter
	// that was restored.
	Seen map[facts.ID]Sight `json:"seen,omitempty"`
	// Libraries are the ids of the content libraries that the names in the spec were given for.
	Libraries map[string]string `json:"libraries,omitempty"`
	// MakingFolder: Pacific may have made the folder without having written it
	// down. Without it, a folder of that name is somebody else's.
	MakingFolder bool `json:"makingFolder,omitempty"`
	// MakingPools are the zones of which the same is true of the pool.
	MakingPools []string `json:"makingPools,omitempty"`
}

// Sight is how something in vCenter was called and where it lay.
type Sight struct {
	Name   string   `json:"name"`
	Parent facts.ID `json:"parent,omitzero"`
}

// Things are the folder and the pools.
func (r *Record) Things() []facts.ID {
	things := slices.Collect(maps.Values(r.Pools))
	if !r.Folder.IsZero() {
		things = append(things, r.Folder)
	}
	return things
}

// See notes how something was seen. What is not the record's is forgotten.
func (r *Record) See(id facts.ID, sight Sight) {
	if r.Seen == nil {
		r.Seen = map[facts.ID]Sight{}
	}
	r.Seen[id] = sight
	things := r.Things()
	maps.DeleteFunc(r.Seen, func(id facts.ID, _ Sight) bool { return !slices.Contains(things, id) })
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
		return nil, fmt.Errorf("the record of vSphere Namespace %q has version %d, and this program knows %d alone",
			record.Metadata.Name, record.Version, recordVersion)
	case record.Metadata.UID == "" || record.Metadata.Name == "":
		return nil, fmt.Errorf("the record of a vSphere Namespace has no name or no uid")
	}
	return record, nil
}

// Clone is a deep copy.
func (r *Record) Clone() *Record {
	c := *r
	c.Metadata = *r.Metadata.DeepCopy()
	c.Spec = *r.Spec.DeepCopy()
	c.Zones, c.Leaving = slices.Clone(r.Zones), slices.Clone(r.Leaving)
	c.Resources, c.Applied = r.Resources.DeepCopy(), r.Applied.DeepCopy()
	c.Pools, c.Seen, c.Libraries = maps.Clone(r.Pools), maps.Clone(r.Seen), maps.Clone(r.Libraries)
	c.Kept, c.MakingPools = slices.Clone(r.Kept), slices.Clone(r.MakingPools)
	return &c
}

// UID is the one of the namespace.
func (r *Record) UID() types.UID { return r.Metadata.UID }

// Keeps says whether something was there before Pacific had anything to do with it.
func (r *Record) Keeps(id facts.ID) bool { return slices.Contains(r.Kept, id) }

// Deleting says whether its deletion was asked for.
func (r *Record) Deleting() bool { return r.Metadata.DeletionTimestamp != nil }

// Portion is what the pool of the i-th zone is to have: its part of the limits
// that are on their way, or of those that reached the pools last.
func (r *Record) Portion(i int) Portion {
	switch {
	case r.Resources != nil:
		return portionOf(*r.Resources, i, len(r.Zones))
	case r.Applied != nil:
		return portionOf(*r.Applied, i, len(r.Zones))
	}
	return portionOf(v1alpha1.NamespaceResources{}, i, len(r.Zones))
}

// Live says whether the zones are those in which there is a pool of the
// namespace's name, whoever made it: nobody has declared others.
func (r *Record) Live() bool { return len(r.Zones) == 0 }

// Settle writes down the pools of a namespace whose zones nobody has declared
// before.
func (r *Record) Settle(there map[string]facts.ID) {
	if !r.Live() {
		return
	}
	for _, zone := range slices.Sorted(maps.Keys(there)) {
		if r.Pools[zone].IsZero() {
			r.KeepPool(zone, there[zone])
		}
	}
}

// IsMaking says whether Pacific may have made a pool in a zone without having
// written it down.
func (r *Record) IsMaking(zone string) bool { return slices.Contains(r.MakingPools, zone) }

// KeepPool takes a pool for the namespace's in its zone that Pacific did not make.
func (r *Record) KeepPool(zone string, id facts.ID) {
	r.SetPool(zone, id)
	if !r.Keeps(id) {
		r.Kept = append(r.Kept, id)
	}
}

// SetPool writes down the pool of a zone.
func (r *Record) SetPool(zone string, id facts.ID) {
	if r.Pools == nil {
		r.Pools = map[string]facts.ID{}
	}
	r.Pools[zone] = id
	r.Made(zone)
}

// Made takes back that a pool in a zone may have been made.
func (r *Record) Made(zone string) {
	r.MakingPools = slices.DeleteFunc(r.MakingPools, func(making string) bool { return making == zone })
}

// Want sets the zones.
func (r *Record) Want(zones []string) {
	left := r.Touched()
	r.Zones = slices.Clone(zones)
	r.Leaving = slices.DeleteFunc(left, func(zone string) bool { return slices.Contains(zones, zone) })
}

// Touched are the zones in which the namespace has a pool or may have one, in
// order.
func (r *Record) Touched() []string {
	zones := slices.Concat(r.Zones, r.Leaving, r.MakingPools, slices.Collect(maps.Keys(r.Pools)))
	slices.Sort(zones)
	return slices.Compact(zones)
}

// Take takes over what an object declares.
func (r *Record) Take(object *v1alpha1.Namespace) {
	r.Version = recordVersion
	r.Metadata = *object.ObjectMeta.DeepCopy()
	r.Metadata.ResourceVersion, r.Metadata.SelfLink, r.Metadata.GenerateName = "", "", ""
	r.Spec = *object.Spec.DeepCopy()
	r.Spec.Zones, r.Spec.Resources = nil, v1alpha1.NamespaceResources{}
	maps.DeleteFunc(r.Libraries, func(name, _ string) bool { return !slices.Contains(r.Spec.ContentLibraries, name) })
}

// Give notes which content library a name in the spec is given for.
func (r *Record) Give(name, id string) {
	if r.Libraries == nil {
		r.Libraries = map[string]string{}
	}
	r.Libraries[name] = id
}
