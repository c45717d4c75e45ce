// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"

	"github.com/vmware/govmomi/vim25/types"
)

// Small is what most tests need: datacenter DC0, cluster "cluster-a" of one host,
// one datastore, folder Namespaces with team-a (web-1 on, db-1 off) and team-b
// (cache-1 on), a resource pool of each name, and "outside" in the VM folder.
func Small(ctx context.Context, b *Builder) error {
	const on = types.VirtualMachinePowerStatePoweredOn
	network := []string{"VM Network"}
	return b.steps(ctx,
		func() error { return b.Datacenter(ctx, "DC0") },
		func() error { return b.Cluster(ctx, "cluster-a", "esx-a1.lab.pacific.test") },
		func() error { return b.Datastore(ctx, "datastore-1") },
		func() error { return b.Folder(ctx, "Namespaces/team-a") },
		func() error { return b.Folder(ctx, "Namespaces/team-b") },
		func() error { return b.ResourcePool(ctx, "cluster-a", "team-a") },
		func() error { return b.ResourcePool(ctx, "cluster-a", "team-b") },
		func() error {
			return b.virtualMachines(ctx, []VM{
				{Name: "web-1", Folder: "Namespaces/team-a", Cluster: "cluster-a", Pool: "team-a", GuestID: "ubuntu64Guest",
					CPUs: 2, MemoryMB: 4096, DisksGB: []int64{20}, Networks: network, IPs: []string{"10.20.0.11"}, Power: on},
				{Name: "db-1", Folder: "Namespaces/team-a", Cluster: "cluster-a", Pool: "team-a", GuestID: "rhel9_64Guest",
					CPUs: 4, MemoryMB: 8192, DisksGB: []int64{40}, Networks: network},
				{Name: "cache-1", Folder: "Namespaces/team-b", Cluster: "cluster-a", Pool: "team-b", GuestID: "ubuntu64Guest",
					CPUs: 2, MemoryMB: 4096, DisksGB: []int64{20}, Networks: network, IPs: []string{"10.20.0.12"}, Power: on},
				{Name: "outside", Cluster: "cluster-a", GuestID: "ubuntu64Guest", CPUs: 1, MemoryMB: 2048},
			})
		},
	)
}

func (b *Builder) steps(ctx context.Context, steps ...func() error) error {
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (b *Builder) virtualMachines(ctx context.Context, vms []VM) error {
	for _, vm := range vms {
		if _, err := b.VirtualMachine(ctx, vm); err != nil {
			return err
		}
	}
	return nil
}
