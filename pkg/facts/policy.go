// SPDX-License-Identifier: Apache-2.0

package facts

// StoragePolicies is what vCenter said of its storage policies at one time. It is never changed.
type StoragePolicies struct {
	Policies []StoragePolicy // By name.
	// Machines are those that have a policy somewhere, by managed-object id.
	Machines map[string]MachinePolicies
	// Datastores are those that satisfy a policy, by its id, as managed-object ids in
	// their order. A policy of which vCenter does not tell that is not among them.
	Datastores map[string][]string
}

// StoragePolicy is a storage policy for virtual machines.
type StoragePolicy struct {
	ID   string
	Name string
	// ClassName is the name of its StorageClass: a DNS-1123 subdomain that no other policy has.
	ClassName string
}

// MachinePolicies is what storage policies a virtual machine has.
type MachinePolicies struct {
	// Home is the id of its home's policy, "" for none.
	Home string
	// Disks are those with a policy of their own, by key.
	Disks []DiskPolicy
}

// DiskPolicy is a virtual disk with a storage policy.
type DiskPolicy struct {
	Key    int32
	Policy string // Its id.
	// Space is how many bytes its files take, all its snapshots' included. It is told only where the policy is another one
	// than the home's.
	Space int64
}
