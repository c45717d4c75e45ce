// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"slices"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

const (
	pathName              = machine.PathName
	pathParent            = machine.PathParent
	pathTag               = "tag"
	pathOwner             = "owner"
	pathCPULimit          = machine.PathCPULimit
	pathCPUReservation    = machine.PathCPUReservation
	pathMemoryLimit       = machine.PathMemoryLimit
	pathMemoryReservation = machine.PathMemoryReservation
	pathCPUUsage          = "runtime.cpu.overallUsage"
	pathMemoryUsage       = "runtime.memory.overallUsage"
	pathDRS               = "configuration.drsConfig.enabled"
	pathHostState         = "runtime.connectionState"
	pathHostMaintenance   = "runtime.inMaintenanceMode"
	pathHostMHz           = "summary.hardware.cpuMhz"
	pathStoreURL          = "summary.url"
	pathStoreAccessible   = "summary.accessible"
	pathStoreMaintenance  = "summary.maintenanceMode"
	pathStoreFree         = "summary.freeSpace"
	pathStoreHosts        = "host"
)

// uplinkTag is on the port groups of a distributed switch that no machine may use.
const uplinkTag = "SYSTEM/DVS.UPLINKPG"

// Kinds are what has to be followed. Records are proven by keys.
func Kinds(keys *machine.Keys) []inventory.Kind {
	return []inventory.Kind{
		machineKind(keys),
		{Type: facts.TypeFolder, Root: inventory.RootNamespaces, Paths: []string{pathName, pathParent}},
		{Type: facts.TypeHost, Root: inventory.RootInventory, Paths: []string{pathName, pathParent, pathHostState, pathHostMaintenance, pathHostMHz}},
		{Type: facts.TypeCluster, Root: inventory.RootInventory, Paths: []string{pathName, pathDRS}},
		{Type: facts.TypePool, Root: inventory.RootInventory, Paths: []string{
			pathName, pathParent, pathOwner,
			pathCPULimit, pathCPUReservation, pathMemoryLimit, pathMemoryReservation,
			pathCPUUsage, pathMemoryUsage,
		}},
		{Type: facts.TypeNetwork, Root: inventory.RootInventory, Paths: []string{pathName, pathTag}},
		{Type: facts.TypeDatastore, Root: inventory.RootInventory, Paths: []string{
			pathName, pathStoreURL, pathStoreAccessible, pathStoreMaintenance, pathStoreFree, pathStoreHosts,
		}},
	}
}

func (d decoder) folder(ref types.ManagedObjectReference, props properties) facts.Folder {
	return facts.Folder{ID: d.id(ref), Name: props.text(pathName), Parent: d.id(props.ref(pathParent))}
}

func (d decoder) cluster(ref types.ManagedObjectReference, props properties) facts.Cluster {
	return facts.Cluster{ID: d.id(ref), Name: props.text(pathName), DRSOff: props.no(pathDRS)}
}

func (d decoder) host(ref types.ManagedObjectReference, props properties) facts.Host {
	state, _ := props[pathHostState].(types.HostSystemConnectionState)
	maintenance, _ := props[pathHostMaintenance].(bool)
	return facts.Host{
		ID: d.id(ref), Name: props.text(pathName), Parent: d.id(props.ref(pathParent)),
		MHz:  props.int32(pathHostMHz),
		Away: maintenance || state != "" && state != types.HostSystemConnectionStateConnected,
	}
}

func (d decoder) datastore(ref types.ManagedObjectReference, props properties) facts.Datastore {
	maintenance := props.text(pathStoreMaintenance)
	store := facts.Datastore{
		ID: d.id(ref), Name: props.text(pathName), URL: props.text(pathStoreURL), Free: props.int64(pathStoreFree, 0),
		Away: props.no(pathStoreAccessible) || maintenance != "" && maintenance != string(types.DatastoreSummaryMaintenanceModeStateNormal),
	}
	mounts, _ := props[pathStoreHosts].([]types.DatastoreHostMount)
	if array, ok := props[pathStoreHosts].(types.ArrayOfDatastoreHostMount); ok {
		mounts = array.DatastoreHostMount
	}
	for _, mount := range mounts {
		if writable(mount.MountInfo) {
			store.Hosts = append(store.Hosts, d.id(mount.Key))
		}
	}
	return store
}

// writable says whether a host can make files there. What vCenter does not tell is taken to be well.
func writable(mount types.HostMountInfo) bool {
	well := func(b *bool) bool { return b == nil || *b }
	return well(mount.Mounted) && well(mount.Accessible) && mount.AccessMode != string(types.HostMountModeReadOnly)
}

func (d decoder) pool(ref types.ManagedObjectReference, props properties) facts.Pool {
	return facts.Pool{
		ID: d.id(ref), Name: props.text(pathName), Parent: d.id(props.ref(pathParent)), Owner: d.id(props.ref(pathOwner)),
		CPU:     props.allocation(pathCPULimit, pathCPUReservation),
		Memory:  props.allocation(pathMemoryLimit, pathMemoryReservation),
		UsedCPU: max(0, props.int64(pathCPUUsage, 0)), UsedMemory: max(0, props.int64(pathMemoryUsage, 0)),
	}
}

func (d decoder) network(ref types.ManagedObjectReference, props properties) facts.Network {
	tags, _ := props[pathTag].([]types.Tag)
	if array, ok := props[pathTag].(types.ArrayOfTag); ok {
		tags = array.Tag
	}
	return facts.Network{ID: d.id(ref), Name: props.text(pathName),
		Uplinks: slices.ContainsFunc(tags, func(tag types.Tag) bool { return tag.Key == uplinkTag })}
}

// properties are a managed object's properties by path, as the inventory gives
// them. They are never changed.
type properties map[string]any

func (p properties) text(path string) string {
	s, _ := p[path].(string)
	return s
}

// yes says whether vCenter says that it is true.
func (p properties) yes(path string) bool {
	v := p.bool(path)
	return v != nil && *v
}

// no says whether vCenter says that it is false.
func (p properties) no(path string) bool {
	switch v := p[path].(type) {
	case bool:
		return !v
	case *bool:
		return v != nil && !*v
	}
	return false
}

func (p properties) ref(path string) types.ManagedObjectReference {
	ref, _ := p[path].(types.ManagedObjectReference)
	return ref
}

// int64 is a number, and other where vCenter gives none.
func (p properties) int64(path string, other int64) int64 {
	switch v := p[path].(type) {
	case int64:
		return v
	case *int64:
		if v != nil {
			return *v
		}
	}
	return other
}

func (p properties) allocation(limit, reservation string) facts.Allocation {
	return facts.Allocation{Limit: max(-1, p.int64(limit, -1)), Reservation: max(0, p.int64(reservation, 0))}
}
