// SPDX-License-Identifier: Apache-2.0

package storagepolicy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// batch is how many policies or machines one call asks for.
	batch = 100
	// privilege is what the account needs.
	privilege = "StorageProfile.View"
)

// reading is one pass over what vCenter says.
type reading struct {
	client *vim25.Client
}

func (r reading) answer(ctx context.Context) (facts.StoragePolicies, error) {
	service, err := pbm.NewClient(ctx, r.client)
	if err != nil {
		return facts.StoragePolicies{}, fmt.Errorf("connect to the policy service: %w", err)
	}
	storage := pbmtypes.PbmProfileResourceType{ResourceType: string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)}
	ids, err := service.QueryProfile(ctx, storage, string(pbmtypes.PbmProfileCategoryEnumREQUIREMENT))
	switch {
	case err != nil:
		return facts.StoragePolicies{}, fmt.Errorf("list: %w", err)
	case len(ids) == 0:
		return facts.StoragePolicies{}, errNone
	}
	var profiles []pbmtypes.BasePbmProfile
	machines := map[string]facts.MachinePolicies{}
	for some := range slices.Chunk(ids, batch) {
		contents, err := service.RetrieveContent(ctx, some)
		if err != nil {
			return facts.StoragePolicies{}, fmt.Errorf("read: %w", err)
		}
		profiles = append(profiles, contents...)
		associations, err := service.QueryAssociatedEntities(ctx, some)
		if err != nil {
			return facts.StoragePolicies{}, fmt.Errorf("ask who has them: %w", err)
		}
		for _, association := range associations {
			associate(machines, association)
		}
	}
	for id, machine := range machines {
		slices.SortFunc(machine.Disks, func(a, b facts.DiskPolicy) int { return cmp.Compare(a.Key, b.Key) })
		machines[id] = machine
	}
	if err := r.measure(ctx, machines); err != nil {
		return facts.StoragePolicies{}, err
	}
	answer := facts.StoragePolicies{Policies: policiesOf(profiles), Machines: machines}
	answer.Datastores, err = datastores(ctx, service, answer.Policies)
	return answer, err
}

// datastores asks where each policy is satisfied. A policy of which the service cannot say it, as of one whose rules
// are of a provider that is away, does not keep the others from being known.
func datastores(ctx context.Context, service *pbm.Client, policies []facts.StoragePolicy) (map[string][]string, error) {
	satisfied := map[string][]string{}
	for _, policy := range policies {
		result, err := service.CheckRequirements(ctx, nil, nil, []pbmtypes.BasePbmPlacementRequirement{
			&pbmtypes.PbmPlacementCapabilityProfileRequirement{ProfileId: pbmtypes.PbmProfileId{UniqueId: policy.ID}},
		})
		if err != nil {
			if fault.Is(err, &pbmtypes.PbmFaultNoPermission{}) || !soap.IsSoapFault(err) {
				return nil, fmt.Errorf("ask where the storage policy %q is satisfied: %w", policy.Name, err)
			}
			continue
		}
		ids := []string{}
		for _, hub := range result.CompatibleDatastores() {
			if hub.HubType == facts.TypeDatastore {
				ids = append(ids, hub.HubId)
			}
		}
		slices.Sort(ids)
		satisfied[policy.ID] = ids
	}
	return satisfied, nil
}

// associate notes the policy of a machine's home or of a disk; anything else that
// may have one is none of ours.
func associate(machines map[string]facts.MachinePolicies, association pbmtypes.PbmQueryProfileResult) {
	if association.Fault != nil || len(association.ProfileId) == 0 {
		return
	}
	policy := association.ProfileId[0].UniqueId
	switch pbmtypes.PbmObjectType(association.Object.ObjectType) {
	case pbmtypes.PbmObjectTypeVirtualMachine:
		machine := machines[association.Object.Key]
		machine.Home = policy
		machines[association.Object.Key] = machine
	case pbmtypes.PbmObjectTypeVirtualDiskId:
		id, text, _ := strings.Cut(association.Object.Key, ":")
		key, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return
		}
		machine := machines[id]
		machine.Disks = append(machine.Disks, facts.DiskPolicy{Key: int32(key), Policy: policy})
		machines[id] = machine
	}
}

// measure finds out what the disks take that have another policy than their
// machine's home.
func (r reading) measure(ctx context.Context, machines map[string]facts.MachinePolicies) error {
	var asked []types.ManagedObjectReference
	for id, machine := range machines {
		if slices.ContainsFunc(machine.Disks, func(d facts.DiskPolicy) bool { return d.Policy != machine.Home }) {
			asked = append(asked, types.ManagedObjectReference{Type: "VirtualMachine", Value: id})
		}
	}
	slices.SortFunc(asked, func(a, b types.ManagedObjectReference) int { return cmp.Compare(a.Value, b.Value) })
	for some := range slices.Chunk(asked, batch) {
		layouts, err := r.layouts(ctx, some)
		if err != nil {
			return fmt.Errorf("read the sizes of disks: %w", err)
		}
		for _, layout := range layouts {
			space := spaces(layout.LayoutEx)
			machine := machines[layout.Self.Value]
			for i := range machine.Disks {
				if disk := &machine.Disks[i]; disk.Policy != machine.Home {
					disk.Space = space[disk.Key]
				}
			}
		}
	}
	return nil
}

// layouts reads where the files of machines lie, without those that are gone.
func (r reading) layouts(ctx context.Context, refs []types.ManagedObjectReference) ([]mo.VirtualMachine, error) {
	collector := property.DefaultCollector(r.client)
	refs = slices.Clone(refs)
	for len(refs) > 0 {
		var found []mo.VirtualMachine
		err := collector.Retrieve(ctx, refs, []string{"layoutEx.disk", "layoutEx.file"}, &found)
		var gone *types.ManagedObjectNotFound
		if _, is := fault.As(err, &gone); !is {
			return found, err
		}
		left := slices.DeleteFunc(slices.Clone(refs), func(ref types.ManagedObjectReference) bool { return ref == gone.Obj })
		if len(left) == len(refs) {
			return nil, err
		}
		refs = left
	}
	return nil, nil
}

// spaces sums up the files of each disk, by the disk's key.
func spaces(layout *types.VirtualMachineFileLayoutEx) map[int32]int64 {
	if layout == nil {
		return nil
	}
	sizes := map[int32]int64{}
	for _, file := range layout.File {
		sizes[file.Key] = file.Size
	}
	space := map[int32]int64{}
	for _, disk := range layout.Disk {
		for _, unit := range disk.Chain {
			for _, file := range unit.FileKey {
				space[disk.Key] += sizes[file]
			}
		}
	}
	return space
}

// explain says what to do about a refusal of the policy service, which has faults
// of its own.
func explain(err error) error {
	var refused *pbmtypes.PbmFaultNoPermission
	if _, is := fault.As(err, &refused); is && !errors.Is(err, failure.Forbidden) {
		return fmt.Errorf("%w: %w: grant the account the privilege %s on vCenter itself", err, failure.Forbidden, privilege)
	}
	return err
}
