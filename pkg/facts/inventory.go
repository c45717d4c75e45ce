// SPDX-License-Identifier: Apache-2.0

package facts

// The types of managed object that facts are about, as vCenter names them.
const (
	TypeMachine   = "VirtualMachine"
	TypeFolder    = "Folder"
	TypeHost      = "HostSystem"
	TypeCluster   = "ClusterComputeResource"
	TypePool      = "ResourcePool"
	TypeNetwork   = "Network"
	TypeDatastore = "Datastore"
	// Those that derive from TypeNetwork: whoever follows that one sees them too.
	TypePortgroup     = "DistributedVirtualPortgroup"
	TypeOpaqueNetwork = "OpaqueNetwork"
)

// Folder is a folder below the namespaces folder.
type Folder struct {
	ID ID
	// Name is its name as vCenter keeps it: a slash is %2f in it.
	Name string
	// Parent is the folder that it lies in.
	Parent ID
}

// Cluster is a cluster of hosts.
type Cluster struct {
	ID ID
	// Name is its name as vCenter keeps it.
	Name string
	// DRSOff says that DRS is turned off in it, so that it can have no resource
	// pools but its root's.
	DRSOff bool
}

// Host is a host, by itself or in a cluster.
type Host struct {
	ID   ID
	Name string
	// Parent is the cluster that it is in. A host by itself lies in something else.
	Parent ID
	// Away says that vCenter does not reach it, or that it is in maintenance: nothing
	// can be begun there.
	Away bool
	// MHz is how fast one of its CPUs is, 0 where vCenter does not tell.
	MHz int32
}

// Datastore is a datastore.
type Datastore struct {
	ID ID
	// Name is its name as vCenter keeps it.
	Name string
	// URL is what vCenter tells it by wherever it is mounted, such as
	// ds:///vmfs/volumes/<uuid>/.
	URL string
	// Away says that vCenter does not reach it, or that it is in maintenance.
	Away bool
	// Free is how many bytes are free, as vCenter saw it last.
	Free int64
	// Hosts are those that can write to it.
	Hosts []ID
}

// Allocation is what a resource pool or a virtual machine may take and what is kept
// for it, of CPU in MHz or of memory in MiB.
type Allocation struct {
	// Limit is -1 where there is none.
	Limit       int64 `json:"limit"`
	Reservation int64 `json:"reservation"`
}

// Unsaid stands for a limit or a reservation of which nobody says anything: what there is stays.
const Unsaid = -2

// over is what comes of an allocation for something that has another one.
func (a Allocation) over(has Allocation) Allocation {
	if a.Limit == Unsaid {
		a.Limit = has.Limit
	}
	if a.Reservation == Unsaid {
		a.Reservation = has.Reservation
	}
	return a
}

// after takes away what was said before and is not any more.
func (a Allocation) after(before Allocation) Allocation {
	if a.Limit == Unsaid && before.Limit != Unsaid {
		a.Limit = -1
	}
	if a.Reservation == Unsaid && before.Reservation != Unsaid {
		a.Reservation = 0
	}
	return a
}

// Pool is a resource pool.
type Pool struct {
	ID ID
	// Name is its name as vCenter keeps it.
	Name string
	// Parent is the pool that it lies in, or the cluster whose root pool it is.
	Parent ID
	// Owner is the cluster whose resources it takes.
	Owner ID
	// CPU and Memory are what it is configured for.
	CPU, Memory Allocation
	// UsedCPU, in MHz, and UsedMemory, in bytes, are what runs in it takes now.
	UsedCPU, UsedMemory int64
}

// Network is a network, a port group of a distributed switch or an opaque network.
// Its ID's type says which.
type Network struct {
	ID ID
	// Name is its name as vCenter keeps it.
	Name string
	// Uplinks says that it is a switch's own way out: no machine may use it.
	Uplinks bool
}
