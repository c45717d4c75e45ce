// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"github.com/vmware/govmomi/pbm/methods"
	pbmsim "github.com/vmware/govmomi/pbm/simulator"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// tagNamespace is that of the rules which ask for datastores with tags.
	tagNamespace = "http://www.vmware.com/storage/tag"
	// tagCategory is the one category of tags that there is: each datastore has one of it, its name.
	tagCategory = "datastore"
)

// SatisfiedBy are the rules of a policy that datastores of these names satisfy; none is that all do.
func SatisfiedBy(datastores ...string) *pbmtypes.PbmCapabilitySubProfileConstraints {
	constraints := &pbmtypes.PbmCapabilitySubProfileConstraints{}
	if len(datastores) == 0 {
		return constraints
	}
	tags := pbmtypes.PbmCapabilityDiscreteSet{}
	for _, name := range datastores {
		tags.Values = append(tags.Values, name)
	}
	constraints.SubProfiles = []pbmtypes.PbmCapabilitySubProfile{{
		Name: "Tag based placement",
		Capability: []pbmtypes.PbmCapabilityInstance{{
			Id: pbmtypes.PbmCapabilityMetadataUniqueId{Namespace: tagNamespace, Id: tagCategory},
			Constraint: []pbmtypes.PbmCapabilityConstraintInstance{{PropertyInstance: []pbmtypes.PbmCapabilityPropertyInstance{{
				Id: "com.vmware.storage.tag." + tagCategory + ".property", Value: tags,
			}}}},
		}},
	}}
	return constraints
}

// satisfies says whether a datastore of that name satisfies a policy.
func satisfies(profile *pbmtypes.PbmCapabilityProfile, datastore string) bool {
	constraints, ok := profile.Constraints.(*pbmtypes.PbmCapabilitySubProfileConstraints)
	if !ok {
		return true
	}
	for _, sub := range constraints.SubProfiles {
		for _, capability := range sub.Capability {
			if capability.Id.Namespace == tagNamespace && !tagged(capability, datastore) {
				return false
			}
		}
	}
	return true
}

func tagged(capability pbmtypes.PbmCapabilityInstance, datastore string) bool {
	for _, constraint := range capability.Constraint {
		for _, property := range constraint.PropertyInstance {
			if set, ok := property.Value.(pbmtypes.PbmCapabilityDiscreteSet); ok &&
				slices.Contains(set.Values, types.AnyType(datastore)) {
				return true
			}
		}
	}
	return false
}

// solver says which datastores satisfy a policy. The simulator says so of all, and of policies that there are not.
type solver struct {
	*pbmsim.PlacementSolver
	policies *ProfileManager
}

// PbmCheckRequirements goes by the rules of each policy.
func (s *solver) PbmCheckRequirements(ctx *simulator.Context, req *pbmtypes.PbmCheckRequirements) soap.HasFault {
	body := new(methods.PbmCheckRequirementsBody)
	s.policies.mu.Lock()
	defer s.policies.mu.Unlock()
	var asked []*pbmtypes.PbmCapabilityProfile
	for _, requirement := range req.PlacementSubjectRequirement {
		named, ok := requirement.(*pbmtypes.PbmPlacementCapabilityProfileRequirement)
		if !ok {
			continue
		}
		profile := s.policies.find(named.ProfileId.UniqueId)
		if profile == nil {
			body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "placementSubjectRequirement"})
			return body
		}
		asked = append(asked, profile)
	}
	body.Res = new(pbmtypes.PbmCheckRequirementsResponse)
	for _, entity := range ctx.For(vim25.Path).Map.All("Datastore") {
		hub := pbmtypes.PbmPlacementHub{HubType: entity.Reference().Type, HubId: entity.Reference().Value}
		if len(req.HubsToSearch) > 0 && !slices.Contains(req.HubsToSearch, hub) {
			continue
		}
		result := pbmtypes.PbmPlacementCompatibilityResult{Hub: hub}
		name := entity.Entity().Name
		for _, profile := range asked {
			if !satisfies(profile, name) {
				result.Error = append(result.Error, types.LocalizedMethodFault{
					Fault:            &pbmtypes.PbmCompatibilityCheckFault{Hub: hub},
					LocalizedMessage: "the datastore " + name + " does not have the tags of the storage policy " + profile.Name,
				})
			}
		}
		body.Res.Returnval = append(body.Res.Returnval, result)
	}
	return body
}
