// SPDX-License-Identifier: Apache-2.0

package facts

// Entity is something in vCenter's inventory, as vCenter had it at one moment.
type Entity struct {
	ID ID
	// Name is its name as vCenter keeps it: a slash is %2f in it.
	Name string
	// Parent is what it lies in, zero where that is nothing that the account may see.
	Parent ID
}

// Container is a folder or a resource pool with what lies directly in it, as vCenter had it at one moment: what decides
// about acts on it.
type Container struct {
	Entity
	Inside []ID
}

// Empty says whether nothing lies in it.
func (c Container) Empty() bool { return len(c.Inside) == 0 }

// Lineage is a folder and where it lies, as vCenter has it now.
type Lineage struct {
	Entity
	// HoldsMachines says that virtual machines may lie in it.
	HoldsMachines bool
	// Above are the folders that it lies in, nearest first.
	Above []ID
	// Datacenter is the one that it lies in, zero where it lies in none.
	Datacenter ID
}
