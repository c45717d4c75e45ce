// SPDX-License-Identifier: Apache-2.0

package realisation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// plan decides what a new namespace starts from. What is there in vCenter already
// is taken over only where the object names it.
func (b *Backend) plan(ctx context.Context, record *records.Record, object *v1alpha1.Namespace) error {
	if err := b.planFolder(ctx, record, object); err != nil {
		return err
	}
	zones, err := b.zones(object.Spec.Zones, nil)
	if err != nil {
		return err
	}
	if err := b.planPools(record, object, zones); err != nil {
		return err
	}
	if !equality.Semantic.DeepEqual(object.Spec.Resources, v1alpha1.NamespaceResources{}) {
		record.Resources = object.Spec.Resources.DeepCopy()
	}
	return nil
}

func (b *Backend) planFolder(ctx context.Context, record *records.Record, object *v1alpha1.Namespace) error {
	folder, detached := b.Projector.FolderNamed(object.Name)
	asked := object.Spec.Folder
	switch {
	case folder != "" && !detached:
		return fmt.Errorf("the folder %s of vCenter is the vSphere Namespace %q already: %w", folder, object.Name,
			failure.AlreadyExists)
	case folder != "" && asked == "":
		return fmt.Errorf("the name %q has the folder %s of the namespaces folder, whose Kubernetes Namespace was deleted: "+
			"take it over with all that lies in it by spec.folder: %s, or choose another name: %w",
			object.Name, folder, folder, failure.AlreadyExists)
	case folder != "" && asked != folder:
		return fmt.Errorf("spec.folder: the name %q has the folder %s of the namespaces folder, whose Kubernetes Namespace "+
			"was deleted: "+
			"take that one over, or rename one of the two: %w", object.Name, folder, failure.Invalid)
	case asked == "":
		return nil
	}
	from := b.Projector.NamespacesFolder()
	if folder == "" {
		found, err := b.findAdoptable(ctx, object.Name, asked)
		if err != nil {
			return err
		}
		from = found.Parent
	}
	record.Folder, record.Bring = b.Projector.ID(asked), true
	record.Kept = append(record.Kept, record.Folder)
	record.See(record.Folder, records.Sight{Name: object.Name, Parent: from})
	return nil
}

// zones checks the names of zones. None are all that can have a resource pool.
// before are those that are not new: they are taken as they are.
func (b *Backend) zones(asked, before []string) ([]string, error) {
	known := b.Projector.Roots()
	usable := maps.Clone(known)
	maps.DeleteFunc(usable, func(_ string, r projection.Root) bool { return r.DRSOff })
	names := slices.Sorted(maps.Keys(usable))
	if len(asked) == 0 && len(names) > 0 {
		return names, nil
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("vCenter has no cluster with DRS that is a zone and that the account may see, so there is "+
			"none for a resource pool: %w", failure.Invalid)
	}
	for _, zone := range asked {
		switch r, found := known[zone]; {
		case slices.Contains(before, zone):
		case !found:
			return nil, fmt.Errorf("spec.zones: there is no zone %q; there are: %s: %w", zone, strings.Join(names, ", "),
				failure.Invalid)
		case r.DRSOff:
			return nil, fmt.Errorf("spec.zones: %s: %w", drsOff(zone), failure.Invalid)
		}
	}
	zones := slices.Clone(asked)
	slices.Sort(zones)
	return zones, nil
}

// drsOff says why there can be no resource pool in a zone.
func drsOff(zone string) string {
	return fmt.Sprintf("DRS is turned off in the cluster of zone %q, so that it can have no resource pools: turn it on "+
		"in vCenter, or leave the zone out", zone)
}

// planPools sets the zones of a record, and the pools that are there already in
// those that it had not before. Another one of the namespace's name is somebody
// else's: limits for the namespace would throttle what runs in it.
func (b *Backend) planPools(record *records.Record, object *v1alpha1.Namespace, zones []string) error {
	taken, err := b.takenPools(record, object.Name, zones, object.Spec.ResourcePools)
	if err != nil {
		return err
	}
	named := b.Projector.PoolsNamed(object.Name)
	for _, zone := range zones {
		id := taken[zone]
		switch {
		case !id.IsZero():
		case !record.Pools[zone].IsZero() || slices.Contains(record.MakingPools, zone):
			continue
		case named[zone].IsZero():
			continue
		case !record.Keeps(named[zone]):
			return occupied(object.Name, zone, named[zone].Value)
		default: // it was this namespace's before it gave up the zone
			id = named[zone]
		}
		delete(record.Seen, id)
		record.KeepPool(zone, id)
	}
	for _, id := range record.Pools {
		// One that was seen otherwise may be another one: nobody has taken that over.
		_, known := record.Seen[id]
		if sight, there := b.Projector.Sight(id); there && (!known || b.Projector.Recognised(id)) {
			record.See(id, sight)
		}
	}
	record.Want(zones)
	return nil
}

// occupied is the error where a zone has a resource pool of the namespace's name
// that does not belong to it.
func occupied(name, zone, id string) error {
	return fmt.Errorf("zone %q has a resource pool called %q already, %s, which Pacific did not make: "+
		"take it over with all that runs in it by adding %q to spec.resourcePools, leave out the zone, or rename one of "+
		"the two: %w",
		zone, name, id, id, failure.AlreadyExists)
}

// takenPools returns the resource pools that spec.resourcePools names and the
// record does not have yet, by zone.
func (b *Backend) takenPools(record *records.Record, name string, zones, asked []string) (map[string]facts.ID, error) {
	taken := map[string]facts.ID{}
	for _, value := range asked {
		id := b.Projector.PoolID(value)
		if slices.Contains(slices.Collect(maps.Values(record.Pools)), id) && b.Projector.Recognised(id) {
			continue
		}
		found, refusal := b.Projector.TakeablePool(value, name)
		if refusal == "" {
			switch other := record.Pools[found]; {
			case !slices.Contains(zones, found) && record.Keeps(id):
				continue // the namespace has given up the zone
			case !slices.Contains(zones, found):
				refusal = fmt.Sprintf("it lies in zone %q, which is not among spec.zones", found)
			case !taken[found].IsZero():
				refusal = fmt.Sprintf("it lies in zone %q beside %s, and a namespace has one in each", found, taken[found].Value)
			case !other.IsZero() && other != id:
				refusal = fmt.Sprintf("the namespace has the resource pool %s in its zone %q already", other.Value, found)
			}
		}
		if refusal != "" {
			return nil, fmt.Errorf("spec.resourcePools: %s cannot be taken over, %s: %w", value, refusal, failure.Invalid)
		}
		taken[found] = id
	}
	return taken, nil
}
