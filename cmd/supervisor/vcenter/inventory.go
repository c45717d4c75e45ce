// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// inventory is what vCenter held when it was read: machines and VM folders by their paths.
type inventory struct {
	client   *govmomi.Client
	machines []machine
	folders  []folder
}

type machine struct {
	path, ip, host string
	power          types.VirtualMachinePowerState
	pool, parent   *types.ManagedObjectReference
	object         *object.VirtualMachine
}

func (m machine) name() string { return m.path[strings.LastIndexByte(m.path, '/')+1:] }

type folder struct {
	path   string
	object *object.Folder
}

func readInventory(ctx context.Context, client *govmomi.Client) (*inventory, error) {
	i := &inventory{client: client}
	if err := i.read(ctx); err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	return i, nil
}

func (i *inventory) read(ctx context.Context) error {
	kinds := []string{"Datacenter", "Folder", "HostSystem", "VirtualMachine"}
	members, err := view.NewManager(i.client.Client).CreateContainerView(ctx, i.client.ServiceContent.RootFolder, kinds,
		true)
	if err != nil {
		return err
	}
	defer func() { _ = members.Destroy(ctx) }()
	var entities []mo.ManagedEntity
	if err := members.Retrieve(ctx, kinds, []string{"name", "parent"}, &entities); err != nil {
		return err
	}
	var vms []mo.VirtualMachine
	if err := members.Retrieve(ctx, []string{"VirtualMachine"},
		[]string{"name", "parent", "runtime.powerState", "runtime.host", "resourcePool", "guest.ipAddress"},
		&vms); err != nil {
		return err
	}
	var kept []mo.Folder
	if err := members.Retrieve(ctx, []string{"Folder"}, []string{"name", "parent", "childType"}, &kept); err != nil {
		return err
	}

	byRef := make(map[types.ManagedObjectReference]mo.ManagedEntity, len(entities))
	for _, e := range entities {
		byRef[e.Self] = e
	}
	var pathOf func(name string, parent *types.ManagedObjectReference) string
	pathOf = func(name string, parent *types.ManagedObjectReference) string {
		if parent != nil {
			if above, ok := byRef[*parent]; ok {
				return pathOf(above.Name, above.Parent) + "/" + name
			}
		}
		return "/" + name
	}
	for _, vm := range vms {
		m := machine{
			path: pathOf(vm.Name, vm.Parent), power: vm.Runtime.PowerState, pool: vm.ResourcePool, parent: vm.Parent,
			object: object.NewVirtualMachine(i.client.Client, vm.Self),
		}
		if vm.Guest != nil {
			m.ip = vm.Guest.IpAddress
		}
		if vm.Runtime.Host != nil {
			m.host = byRef[*vm.Runtime.Host].Name
		}
		i.machines = append(i.machines, m)
	}
	for _, f := range kept {
		if slices.Contains(f.ChildType, "VirtualMachine") {
			i.folders = append(i.folders, folder{path: pathOf(f.Name, f.Parent),
				object: object.NewFolder(i.client.Client, f.Self)})
		}
	}
	sort.Slice(i.machines, func(a, b int) bool { return i.machines[a].path < i.machines[b].path })
	sort.Slice(i.folders, func(a, b int) bool { return i.folders[a].path < i.folders[b].path })
	return nil
}

// machine finds one by its name, by the end of its path, or by its managed object id.
func (i *inventory) machine(name string) (machine, error) {
	var paths []string
	for _, m := range i.machines {
		if m.object.Reference().Value == name {
			return m, nil
		}
		paths = append(paths, m.path)
	}
	n, err := pick("virtual machine", name, paths)
	if err != nil {
		return machine{}, err
	}
	return i.machines[n], nil
}

// folder finds a VM folder by its name or by the end of its path.
func (i *inventory) folder(name string) (folder, error) {
	var paths []string
	for _, f := range i.folders {
		paths = append(paths, f.path)
	}
	n, err := pick("folder", name, paths)
	if err != nil {
		return folder{}, err
	}
	return i.folders[n], nil
}

// pick is the index of the one path that is the name, or ends in it.
func pick(kind, name string, paths []string) (int, error) {
	var found []int
	tail := "/" + strings.Trim(name, "/")
	for n, path := range paths {
		if path == name {
			return n, nil
		}
		if strings.HasSuffix(path, tail) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, fmt.Errorf("there is no %s %q; there are:\n%s", kind, name, list(paths))
	}
	var candidates []string
	for _, n := range found {
		candidates = append(candidates, paths[n])
	}
	return 0, fmt.Errorf("%q is the name of several: say which %s is meant by its path:\n%s", name, kind, list(candidates))
}

func list(paths []string) string {
	const most = 40
	more := ""
	if len(paths) > most {
		more = fmt.Sprintf("\n  and %d more", len(paths)-most)
		paths = paths[:most]
	}
	return "  " + strings.Join(paths, "\n  ") + more
}

// pool is where a new machine of a folder runs: the pool of the folder's name, else the root pool of the first cluster.
func (i *inventory) pool(ctx context.Context, folderName string) (*object.ResourcePool, error) {
	kinds := []string{"ResourcePool"}
	members, err := view.NewManager(i.client.Client).CreateContainerView(ctx, i.client.ServiceContent.RootFolder, kinds,
		true)
	if err != nil {
		return nil, fmt.Errorf("find a resource pool: %w", err)
	}
	defer func() { _ = members.Destroy(ctx) }()
	var pools []mo.ResourcePool
	if err := members.Retrieve(ctx, kinds, []string{"name", "parent"}, &pools); err != nil {
		return nil, fmt.Errorf("find a resource pool: %w", err)
	}
	var chosen *types.ManagedObjectReference
	for n := range pools {
		switch {
		case pools[n].Name == folderName:
			return object.NewResourcePool(i.client.Client, pools[n].Self), nil
		case chosen == nil && pools[n].Parent != nil && pools[n].Parent.Type == "ClusterComputeResource":
			chosen = &pools[n].Self
		}
	}
	if chosen == nil {
		return nil, fmt.Errorf("vCenter has no cluster to run a virtual machine in")
	}
	return object.NewResourcePool(i.client.Client, *chosen), nil
}

// datastore is the first one that the pool's cluster can use.
func (i *inventory) datastore(ctx context.Context, pool *object.ResourcePool) (string, error) {
	collector := property.DefaultCollector(i.client.Client)
	var p mo.ResourcePool
	if err := collector.RetrieveOne(ctx, pool.Reference(), []string{"owner"}, &p); err != nil {
		return "", fmt.Errorf("find a datastore: %w", err)
	}
	var cluster mo.ComputeResource
	if err := collector.RetrieveOne(ctx, p.Owner, []string{"datastore"}, &cluster); err != nil {
		return "", fmt.Errorf("find a datastore: %w", err)
	}
	if len(cluster.Datastore) == 0 {
		return "", fmt.Errorf("the cluster has no datastore")
	}
	var ds mo.Datastore
	if err := collector.RetrieveOne(ctx, cluster.Datastore[0], []string{"name"}, &ds); err != nil {
		return "", fmt.Errorf("find a datastore: %w", err)
	}
	return ds.Name, nil
}
