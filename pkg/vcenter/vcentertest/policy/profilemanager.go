// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/pbm/methods"
	pbmsim "github.com/vmware/govmomi/pbm/simulator"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// policiesMutex guards the profiles that the policy simulators of a process
// share: making a simulator writes to them.
var policiesMutex sync.Mutex

// ProfileManager are the VM storage policies of one vCenter, and which machine
// and which disk has which. The simulator has one list for all vCenters of a
// process and no associations.
type ProfileManager struct {
	*pbmsim.ProfileManager

	mu       sync.Mutex
	profiles []*pbmtypes.PbmCapabilityProfile
	made     int // so many were made since the start
	homes    map[string]string
	disks    map[string]map[int32]string
	// expected is what the next task changes if it succeeds, and assigned what those do that have begun, by task.
	expected *Assignment
	assigned map[types.ManagedObjectReference]*Assignment
}

// Assignment is what one task does to the policies of one machine.
type Assignment struct {
	machine *types.ManagedObjectReference
	home    *string // nil leaves it, "" takes it away
	disks   []diskAssignment
}

// diskAssignment names its disk by the device in the request: the simulator puts
// that very one into the machine and gives it its key.
type diskAssignment struct {
	disk   *types.VirtualDevice
	policy *string // nil forgets the disk
}

// New returns the policies that every vCenter has at the start, and the registry
// of the simulated policy service that answers for them.
func New() (*ProfileManager, *simulator.Registry) {
	policiesMutex.Lock()
	defer policiesMutex.Unlock()
	registry := pbmsim.New()
	p := &ProfileManager{homes: map[string]string{}, disks: map[string]map[int32]string{}}
	manager := types.ManagedObjectReference{Type: "PbmProfileProfileManager", Value: "ProfileManager"}
	p.ProfileManager = registry.Get(manager).(*pbmsim.ProfileManager)
	details := p.ProfileManager.PbmQueryProfileDetails(&pbmtypes.PbmQueryProfileDetails{}).(*methods.PbmQueryProfileDetailsBody)
	for _, detail := range details.Res.Returnval {
		if profile, ok := detail.Profile.(pbmtypes.BasePbmCapabilityProfile); ok {
			own := *profile.GetPbmCapabilityProfile()
			p.profiles = append(p.profiles, &own)
		}
	}
	registry.Put(p)
	solving := types.ManagedObjectReference{Type: "PbmPlacementSolver", Value: "placementSolver"}
	registry.Put(&solver{PlacementSolver: registry.Get(solving).(*pbmsim.PlacementSolver), policies: p})
	return p, registry
}

func (p *ProfileManager) find(id string) *pbmtypes.PbmCapabilityProfile {
	for _, profile := range p.profiles {
		if profile.ProfileId.UniqueId == id {
			return profile
		}
	}
	return nil
}

// Knows is why vCenter would refuse these profiles.
func (p *ProfileManager) Knows(specs ...types.BaseVirtualMachineProfileSpec) types.BaseMethodFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, spec := range specs {
		if defined, ok := spec.(*types.VirtualMachineDefinedProfileSpec); ok && p.find(defined.ProfileId) == nil {
			return &types.InvalidArgument{InvalidProperty: "profile"}
		}
	}
	return nil
}

// chosen is the policy that profiles stand for; nil is that they say nothing.
func chosen(specs []types.BaseVirtualMachineProfileSpec) *string {
	for _, spec := range specs {
		switch spec := spec.(type) {
		case *types.VirtualMachineDefinedProfileSpec:
			return &spec.ProfileId
		case *types.VirtualMachineEmptyProfileSpec, *types.VirtualMachineDefaultProfileSpec:
			return new(string)
		}
	}
	return nil
}

// ProfilesOf are all profiles in a specification.
func ProfilesOf(spec *types.VirtualMachineConfigSpec) []types.BaseVirtualMachineProfileSpec {
	all := slices.Clone(spec.VmProfile)
	for _, change := range spec.DeviceChange {
		all = append(all, change.GetVirtualDeviceConfigSpec().Profile...)
	}
	return all
}

// Asks is what a specification does to the policies of a machine. It is found out
// before the task runs, which changes the specification.
func Asks(spec *types.VirtualMachineConfigSpec) Assignment {
	made := Assignment{home: chosen(spec.VmProfile)}
	for _, change := range spec.DeviceChange {
		change := change.GetVirtualDeviceConfigSpec()
		if _, ok := change.Device.(*types.VirtualDisk); !ok {
			continue
		}
		disk := diskAssignment{disk: change.Device.GetVirtualDevice(), policy: chosen(change.Profile)}
		if disk.policy != nil || change.Operation == types.VirtualDeviceConfigSpecOperationRemove {
			made.disks = append(made.disks, disk)
		}
	}
	return made
}

// Expect has what was asked count once the task has succeeded that begins next, until the returned function is called.
// The machine is the one that the task works on; nil is the task's result.
func (p *ProfileManager) Expect(made Assignment, machine *types.ManagedObjectReference) (over func()) {
	if made.home == nil && len(made.disks) == 0 {
		return func() {}
	}
	made.machine = machine
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = &made
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.expected = nil
	}
}

// Begins is told of each task before it runs, and Succeeded, in the task, that it has done its work.
func (p *ProfileManager) Begins(task types.ManagedObjectReference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected == nil {
		return
	}
	if p.assigned == nil {
		p.assigned = map[types.ManagedObjectReference]*Assignment{}
	}
	p.assigned[task], p.expected = p.expected, nil
}

// Succeeded has what a task was expected to change count. A task that failed has no result.
func (p *ProfileManager) Succeeded(task types.ManagedObjectReference, result types.AnyType, failed bool) {
	p.mu.Lock()
	made := p.assigned[task]
	delete(p.assigned, task)
	p.mu.Unlock()
	if made == nil || failed {
		return
	}
	machine := made.machine
	if ref, ok := result.(types.ManagedObjectReference); ok && machine == nil {
		machine = &ref
	}
	if machine != nil {
		p.apply(machine.Value, *made)
	}
}

// settle forgets machines that are gone.
func (p *ProfileManager) settle(ctx *simulator.Context) {
	ctx = ctx.For(vim25.Path)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, machine := range slices.Concat(slices.Sorted(maps.Keys(p.homes)), slices.Sorted(maps.Keys(p.disks))) {
		if ctx.Map.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: machine}) == nil {
			delete(p.homes, machine)
			delete(p.disks, machine)
		}
	}
}

func (p *ProfileManager) apply(machine string, made Assignment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if made.home != nil {
		p.homes[machine] = *made.home
	}
	for _, disk := range made.disks {
		if disk.policy == nil {
			delete(p.disks[machine], disk.disk.Key)
			continue
		}
		if p.disks[machine] == nil {
			p.disks[machine] = map[int32]string{}
		}
		p.disks[machine][disk.disk.Key] = *disk.policy
	}
}

// entities lists what has a policy.
func (p *ProfileManager) entities(id string, kind pbmtypes.PbmObjectType) []pbmtypes.PbmServerObjectRef {
	var found []pbmtypes.PbmServerObjectRef
	add := func(of pbmtypes.PbmObjectType, key, policy string) {
		if policy == id && (kind == "" || kind == of) {
			found = append(found, pbmtypes.PbmServerObjectRef{ObjectType: string(of), Key: key})
		}
	}
	for _, machine := range slices.Sorted(maps.Keys(p.homes)) {
		add(pbmtypes.PbmObjectTypeVirtualMachine, machine, p.homes[machine])
	}
	for _, machine := range slices.Sorted(maps.Keys(p.disks)) {
		for key, policy := range p.disks[machine] {
			add(pbmtypes.PbmObjectTypeVirtualDiskId, machine+":"+strconv.Itoa(int(key)), policy)
		}
	}
	return found
}

// of is the policy of a machine's home or of a disk.
func (p *ProfileManager) of(entity pbmtypes.PbmServerObjectRef) []pbmtypes.PbmProfileId {
	policy := ""
	switch pbmtypes.PbmObjectType(entity.ObjectType) {
	case pbmtypes.PbmObjectTypeVirtualMachine:
		policy = p.homes[entity.Key]
	case pbmtypes.PbmObjectTypeVirtualDiskId:
		machine, disk, _ := strings.Cut(entity.Key, ":")
		if key, err := strconv.Atoi(disk); err == nil {
			policy = p.disks[machine][int32(key)]
		}
	}
	if policy == "" {
		return nil
	}
	return []pbmtypes.PbmProfileId{{UniqueId: policy}}
}

// PbmQueryProfile lists the ids of the policies.
func (p *ProfileManager) PbmQueryProfile(req *pbmtypes.PbmQueryProfile) soap.HasFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	body := &methods.PbmQueryProfileBody{Res: &pbmtypes.PbmQueryProfileResponse{}}
	for _, profile := range p.profiles {
		if profile.ResourceType == req.ResourceType && (req.ProfileCategory == "" ||
			req.ProfileCategory == profile.ProfileCategory) {
			body.Res.Returnval = append(body.Res.Returnval, profile.ProfileId)
		}
	}
	return body
}

// PbmQueryProfileDetails lists the policies.
func (p *ProfileManager) PbmQueryProfileDetails(req *pbmtypes.PbmQueryProfileDetails) soap.HasFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	body := &methods.PbmQueryProfileDetailsBody{Res: &pbmtypes.PbmQueryProfileDetailsResponse{}}
	for _, profile := range p.profiles {
		if req.ProfileCategory == "" || req.ProfileCategory == profile.ProfileCategory {
			shown := *profile
			body.Res.Returnval = append(body.Res.Returnval, pbmtypes.PbmProfileDetails{Profile: &shown})
		}
	}
	return body
}

// PbmRetrieveContent reads policies.
func (p *ProfileManager) PbmRetrieveContent(req *pbmtypes.PbmRetrieveContent) soap.HasFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	body := new(methods.PbmRetrieveContentBody)
	if len(req.ProfileIds) == 0 {
		body.Fault_ = simulator.Fault("", new(types.InvalidRequest))
		return body
	}
	res := &pbmtypes.PbmRetrieveContentResponse{}
	for _, id := range req.ProfileIds {
		profile := p.find(id.UniqueId)
		if profile == nil {
			body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "profileId"})
			return body
		}
		shown := *profile
		res.Returnval = append(res.Returnval, &shown)
	}
	body.Res = res
	return body
}

func (p *ProfileManager) named(name string) bool {
	return slices.ContainsFunc(p.profiles, func(profile *pbmtypes.PbmCapabilityProfile) bool {
		return profile.Name == name
	})
}

func (p *ProfileManager) compliant(name string) bool {
	return slices.ContainsFunc(p.profiles, func(profile *pbmtypes.PbmCapabilityProfile) bool {
		return profile.K8sCompliantName == name || slices.Contains(profile.OtherK8sCompliantNames, name)
	})
}

var notCompliant = regexp.MustCompile(`[^a-z0-9.]+`)

// PbmCreate makes a policy. A name that is taken is refused, and the name for
// Kubernetes is made of it where none is given.
func (p *ProfileManager) PbmCreate(ctx *simulator.Context, req *pbmtypes.PbmCreate) soap.HasFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, spec := new(methods.PbmCreateBody), req.CreateSpec
	switch {
	case spec.Name == "" || len(spec.Name) > 80:
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "name"})
		return body
	case p.named(spec.Name):
		body.Fault_ = simulator.Fault("", &pbmtypes.PbmDuplicateName{Name: spec.Name})
		return body
	case p.compliant(spec.K8sCompliantName) && spec.K8sCompliantName != "":
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "k8sCompliantName"})
		return body
	}
	compliant := spec.K8sCompliantName
	if compliant == "" {
		base := strings.Trim(notCompliant.ReplaceAllString(strings.ToLower(spec.Name), "-"), "-.")
		compliant = base
		for n := 2; p.compliant(compliant); n++ {
			compliant = base + "-" + strconv.Itoa(n)
		}
	}
	p.made++
	// A policy that is made anew under an old name is another one.
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte("vcentertest:storage policy/"+spec.Name+"/"+
		strconv.Itoa(p.made))).String()
	now := time.Now()
	p.profiles = append(p.profiles, &pbmtypes.PbmCapabilityProfile{
		PbmProfile: pbmtypes.PbmProfile{
			ProfileId: pbmtypes.PbmProfileId{UniqueId: id}, Name: spec.Name, Description: spec.Description,
			CreationTime: now, CreatedBy: ctx.Session.UserName, LastUpdatedTime: now, LastUpdatedBy: ctx.Session.UserName,
		},
		ProfileCategory: spec.Category, ResourceType: spec.ResourceType, Constraints: spec.Constraints,
		K8sCompliantName: compliant, OtherK8sCompliantNames: []string{compliant + "-latebinding"},
	})
	body.Res = &pbmtypes.PbmCreateResponse{Returnval: pbmtypes.PbmProfileId{UniqueId: id}}
	return body
}

// PbmUpdate renames a policy, or describes it. Its name for Kubernetes stays.
func (p *ProfileManager) PbmUpdate(ctx *simulator.Context, req *pbmtypes.PbmUpdate) soap.HasFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, profile := new(methods.PbmUpdateBody), p.find(req.ProfileId.UniqueId)
	name := req.UpdateSpec.Name
	switch {
	case profile == nil:
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "profileId"})
		return body
	case name != "" && name != profile.Name && p.named(name):
		body.Fault_ = simulator.Fault("", &pbmtypes.PbmDuplicateName{Name: name})
		return body
	}
	if name != "" {
		profile.Name = name
	}
	if req.UpdateSpec.Description != "" {
		profile.Description = req.UpdateSpec.Description
	}
	if req.UpdateSpec.Constraints != nil {
		profile.Constraints = req.UpdateSpec.Constraints
	}
	profile.GenerationId++
	profile.LastUpdatedTime, profile.LastUpdatedBy = time.Now(), ctx.Session.UserName
	body.Res = &pbmtypes.PbmUpdateResponse{}
	return body
}

// PbmDelete removes policies. One that is in use stays, and its outcome says so.
func (p *ProfileManager) PbmDelete(ctx *simulator.Context, req *pbmtypes.PbmDelete) soap.HasFault {
	p.settle(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	res := &pbmtypes.PbmDeleteResponse{}
	for _, id := range req.ProfileId {
		outcome := pbmtypes.PbmProfileOperationOutcome{ProfileId: id}
		profile := p.find(id.UniqueId)
		var fault types.BaseMethodFault
		switch {
		case profile == nil:
			fault = &types.InvalidArgument{InvalidProperty: "profileId"}
		case len(p.entities(id.UniqueId, "")) > 0:
			fault = &pbmtypes.PbmResourceInUse{Name: profile.Name}
		}
		if fault != nil {
			outcome.Fault = &types.LocalizedMethodFault{Fault: fault}
		} else {
			p.profiles = slices.DeleteFunc(p.profiles, func(profile *pbmtypes.PbmCapabilityProfile) bool {
				return profile.ProfileId == id
			})
		}
		res.Returnval = append(res.Returnval, outcome)
	}
	return &methods.PbmDeleteBody{Res: res}
}

// PbmQueryAssociatedEntity lists the machines and disks that have a policy.
func (p *ProfileManager) PbmQueryAssociatedEntity(ctx *simulator.Context,
	req *pbmtypes.PbmQueryAssociatedEntity) soap.HasFault {
	p.settle(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	return &methods.PbmQueryAssociatedEntityBody{Res: &pbmtypes.PbmQueryAssociatedEntityResponse{
		Returnval: p.entities(req.Profile.UniqueId, pbmtypes.PbmObjectType(req.EntityType)),
	}}
}

// PbmQueryAssociatedEntities does so for several policies, or for all.
func (p *ProfileManager) PbmQueryAssociatedEntities(ctx *simulator.Context,
	req *pbmtypes.PbmQueryAssociatedEntities) soap.HasFault {
	p.settle(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := req.Profiles
	if len(ids) == 0 {
		for _, profile := range p.profiles {
			ids = append(ids, profile.ProfileId)
		}
	}
	res := &pbmtypes.PbmQueryAssociatedEntitiesResponse{}
	for _, id := range ids {
		for _, entity := range p.entities(id.UniqueId, "") {
			res.Returnval = append(res.Returnval, pbmtypes.PbmQueryProfileResult{Object: entity,
				ProfileId: []pbmtypes.PbmProfileId{id}})
		}
	}
	return &methods.PbmQueryAssociatedEntitiesBody{Res: res}
}

// PbmQueryAssociatedProfile tells the policy of a machine's home or of a disk.
func (p *ProfileManager) PbmQueryAssociatedProfile(ctx *simulator.Context,
	req *pbmtypes.PbmQueryAssociatedProfile) soap.HasFault {
	p.settle(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	return &methods.PbmQueryAssociatedProfileBody{Res: &pbmtypes.PbmQueryAssociatedProfileResponse{
		Returnval: p.of(req.Entity)}}
}

// PbmQueryAssociatedProfiles does so for several.
func (p *ProfileManager) PbmQueryAssociatedProfiles(ctx *simulator.Context,
	req *pbmtypes.PbmQueryAssociatedProfiles) soap.HasFault {
	p.settle(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	res := &pbmtypes.PbmQueryAssociatedProfilesResponse{}
	for _, entity := range req.Entities {
		res.Returnval = append(res.Returnval, pbmtypes.PbmQueryProfileResult{Object: entity, ProfileId: p.of(entity)})
	}
	return &methods.PbmQueryAssociatedProfilesBody{Res: res}
}

// PbmResolveK8sCompliantNames has nothing to do: every policy has its name.
func (*ProfileManager) PbmResolveK8sCompliantNames(*pbmtypes.PbmResolveK8sCompliantNames) soap.HasFault {
	return &methods.PbmResolveK8sCompliantNamesBody{Res: &pbmtypes.PbmResolveK8sCompliantNamesResponse{}}
}

// PbmUpdateK8sCompliantNames is refused: a name that was given stays.
func (*ProfileManager) PbmUpdateK8sCompliantNames(*pbmtypes.PbmUpdateK8sCompliantNames) soap.HasFault {
	return &methods.PbmUpdateK8sCompliantNamesBody{Fault_: simulator.Fault("",
		&types.InvalidArgument{InvalidProperty: "k8sCompliantName"})}
}
