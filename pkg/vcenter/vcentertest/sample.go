// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"fmt"

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

// Sample is the inventory of `supervisor up --sim`: one datacenter, two clusters
// of three hosts, a Namespaces folder with team-a (six machines) and team-b
// (three), pools of the same names, machines elsewhere, networks, datastores and
// two content libraries, and the storage policies "Gold Storage", which two
// machines of team-a have, and "Bronze Storage". It is the same at each start.
func Sample(ctx context.Context, b *Builder) error {
	const on = types.VirtualMachinePowerStatePoweredOn
	const suspended = types.VirtualMachinePowerStateSuspended
	const teamA, teamB = "Namespaces/team-a", "Namespaces/team-b"
	const hostA1, hostA2, hostA3 = "esx-a1.lab.pacific.test", "esx-a2.lab.pacific.test", "esx-a3.lab.pacific.test"
	const hostB1, hostB2, hostB3 = "esx-b1.lab.pacific.test", "esx-b2.lab.pacific.test", "esx-b3.lab.pacific.test"
	workload, management, standard := []string{"workload-net"}, []string{"management-net"}, []string{"VM Network"}
	return b.steps(ctx,
		func() error { return b.Datacenter(ctx, "DC0") },
		func() error { return b.Switch(ctx, "dvs-lab", "workload-net", "management-net") },
		func() error { return b.Cluster(ctx, "cluster-a", hostA1, hostA2, hostA3) },
		func() error { return b.Cluster(ctx, "cluster-b", hostB1, hostB2, hostB3) },
		func() error { return b.Datastore(ctx, "nfs-fast") },
		func() error { return b.Datastore(ctx, "nfs-bulk") },
		func() error { return b.StoragePolicy(ctx, "Gold Storage", "Flash, for databases", "nfs-fast") },
		func() error {
			return b.StoragePolicy(ctx, "Bronze Storage", "Capacity, for everything else", "nfs-bulk", "nfs-fast")
		},
		func() error { return b.Folder(ctx, teamA) },
		func() error { return b.Folder(ctx, teamB) },
		func() error { return b.Folder(ctx, "Infrastructure/Backup") },
		func() error {
			for _, cluster := range []string{"cluster-a", "cluster-b"} {
				for _, pool := range []string{"team-a", "team-b"} {
					if err := b.ResourcePool(ctx, cluster, pool); err != nil {
						return err
					}
				}
			}
			return nil
		},
		func() error {
			return b.virtualMachines(ctx, []VM{
				{Name: "web-1", Folder: teamA, Cluster: "cluster-a", Pool: "team-a", Host: hostA1, Datastore: "nfs-fast",
					GuestID: "ubuntu64Guest",
					CPUs:    2, MemoryMB: 4096, DisksGB: []int64{20}, Networks: workload, IPs: []string{"10.20.1.11", "fd00:20:1::11"},
					Power: on},
				{Name: "web-2", Folder: teamA, Cluster: "cluster-b", Pool: "team-a", Host: hostB1, Datastore: "nfs-fast",
					GuestID: "ubuntu64Guest",
					CPUs:    2, MemoryMB: 4096, DisksGB: []int64{20}, Networks: workload, IPs: []string{"10.20.1.12"}, Power: on,
					StoragePolicy: "Gold Storage", DiskPolicies: []string{"Gold Storage"}},
				{Name: "db-1", Folder: teamA, Cluster: "cluster-a", Pool: "team-a", Host: hostA2, Datastore: "nfs-fast",
					GuestID: "rhel9_64Guest",
					CPUs:    8, MemoryMB: 32768, DisksGB: []int64{40, 500}, Networks: []string{"workload-net", "management-net"},
					IPs:   []string{"10.20.1.21"},
					Power: on, Annotation: "PostgreSQL 17, primary", StoragePolicy: "Gold Storage",
					DiskPolicies: []string{"Gold Storage", "Bronze Storage"}},
				{Name: "batch-1", Folder: teamA, Cluster: "cluster-b", Pool: "team-a", Host: hostB2, Datastore: "nfs-bulk",
					GuestID: "ubuntu64Guest",
					CPUs:    4, MemoryMB: 8192, DisksGB: []int64{100}, Networks: workload},
				{Name: "build-1", Folder: teamA, Cluster: "cluster-a", Pool: "team-a", Host: hostA3, Datastore: "nfs-bulk",
					GuestID: "debian12_64Guest",
					CPUs:    4, MemoryMB: 16384, DisksGB: []int64{80}, Networks: workload, IPs: []string{"10.20.1.31"},
					Power: suspended},
				{Name: "Legacy DB Server", Folder: teamA, Cluster: "cluster-b", Pool: "team-a", Host: hostB3, Datastore: "nfs-bulk",
					GuestID: "windows2019srv_64Guest", HostName: "LEGACYDB", CPUs: 4, MemoryMB: 16384, DisksGB: []int64{60, 200},
					Networks: standard,
					IPs:      []string{"10.20.0.77"}, Power: on},

				{Name: "cache-1", Folder: teamB, Cluster: "cluster-a", Pool: "team-b", Host: hostA1, Datastore: "nfs-fast",
					GuestID: "vmwarePhoton64Guest",
					CPUs:    2, MemoryMB: 8192, DisksGB: []int64{16}, Networks: workload, IPs: []string{"10.20.2.11"}, Power: on},
				{Name: "cache-2", Folder: teamB, Cluster: "cluster-b", Pool: "team-b", Host: hostB1, Datastore: "nfs-fast",
					GuestID: "vmwarePhoton64Guest",
					CPUs:    2, MemoryMB: 8192, DisksGB: []int64{16}, Networks: workload, IPs: []string{"10.20.2.12"}, Power: on},
				{Name: "queue-1", Folder: teamB, Cluster: "cluster-a", Pool: "team-b", Host: hostA2, Datastore: "nfs-bulk",
					GuestID: "rhel9_64Guest",
					CPUs:    4, MemoryMB: 8192, DisksGB: []int64{40}, Networks: workload, IPs: []string{"10.20.2.21"}, Power: on},

				{Name: "jumpbox", Cluster: "cluster-a", Host: hostA3, Datastore: "nfs-fast", GuestID: "ubuntu64Guest",
					CPUs: 2, MemoryMB: 2048, DisksGB: []int64{16}, Networks: management, IPs: []string{"10.20.9.5"}, Power: on},
				{Name: "dns-1", Folder: "Infrastructure", Cluster: "cluster-b", Host: hostB2, Datastore: "nfs-fast",
					GuestID: "debian12_64Guest",
					CPUs:    2, MemoryMB: 2048, DisksGB: []int64{16}, Networks: management, IPs: []string{"10.20.0.2"}, Power: on},
				{Name: "backup-proxy", Folder: "Infrastructure/Backup", Cluster: "cluster-a", Host: hostA1, Datastore: "nfs-bulk",
					GuestID: "rhel9_64Guest", CPUs: 4, MemoryMB: 8192, DisksGB: []int64{40}, Networks: management},
			})
		},
		func() error { return b.Folder(ctx, "Templates") },
		func() error { return SampleLibraries(ctx, b, "nfs-bulk") },
	)
}

// Machines is a Small inventory with n machines in one more folder, "many".
func Machines(n int) Inventory {
	return func(ctx context.Context, b *Builder) error {
		if err := Small(ctx, b); err != nil {
			return err
		}
		if err := b.Folder(ctx, "Namespaces/many"); err != nil {
			return err
		}
		for i := range n {
			vm := VM{Name: fmt.Sprintf("vm-%05d", i), Folder: "Namespaces/many", Cluster: "cluster-a", CPUs: 2, MemoryMB: 4096,
				GuestID: "ubuntu64Guest", DisksGB: []int64{20}, Networks: []string{"VM Network"}}
			if _, err := b.VirtualMachine(ctx, vm); err != nil {
				return err
			}
		}
		return nil
	}
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
