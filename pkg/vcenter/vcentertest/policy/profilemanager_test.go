// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// policyWorld is a Small vCenter with a client of its policy service.
type policyWorld struct {
	*testing.T
	*vcentertest.Builder
	policies *pbm.Client
}

func newPolicyWorld(t *testing.T) *policyWorld {
	t.Helper()
	b, err := vcentertest.Run(t, vcentertest.Options{}).Builder(t.Context())
	if err == nil {
		err = b.In(t.Context(), "DC0")
	}
	if err != nil {
		t.Fatal(err)
	}
	policies, err := pbm.NewClient(t.Context(), b.Client.Client)
	if err != nil {
		t.Fatal(err)
	}
	return &policyWorld{T: t, Builder: b, policies: policies}
}

func (w *policyWorld) create(spec pbmtypes.PbmCapabilityProfileCreateSpec) (pbmtypes.PbmProfileId, error) {
	spec.Category = string(pbmtypes.PbmProfileCategoryEnumREQUIREMENT)
	spec.ResourceType.ResourceType = string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)
	spec.Constraints = &pbmtypes.PbmCapabilitySubProfileConstraints{}
	id, err := w.policies.CreateProfile(w.Context(), spec)
	if err != nil {
		return pbmtypes.PbmProfileId{}, err
	}
	return *id, nil
}

func (w *policyWorld) made(name string) pbmtypes.PbmProfileId {
	w.Helper()
	id, err := w.create(pbmtypes.PbmCapabilityProfileCreateSpec{Name: name})
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// have lists what has a policy, by kind and key.
func (w *policyWorld) have(id pbmtypes.PbmProfileId) []string {
	w.Helper()
	list, err := w.policies.QueryAssociatedEntities(w.Context(), []pbmtypes.PbmProfileId{id})
	if err != nil {
		w.Fatal(err)
	}
	found := []string{}
	for _, entry := range list {
		found = append(found, entry.Object.ObjectType+" "+entry.Object.Key)
		profiles, err := w.policies.QueryAssociatedProfile(w.Context(), entry.Object)
		if err != nil || !slices.Equal(profiles, []pbmtypes.PbmProfileId{id}) {
			w.Errorf("the policy of %v: %v, %v", entry.Object, profiles, err)
		}
	}
	slices.Sort(found)
	return found
}

func defined(id pbmtypes.PbmProfileId) []types.BaseVirtualMachineProfileSpec {
	return []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: id.UniqueId}}
}

func pbmFault(err error) any {
	if !soap.IsSoapFault(err) {
		return err
	}
	return soap.ToSoapFault(err).VimFault()
}

func TestStoragePoliciesOfMachines(t *testing.T) {
	w := newPolicyWorld(t)
	gold, bronze := w.made("Gold"), w.made("Bronze")
	vm, err := w.VirtualMachine(t.Context(), vcentertest.VM{Name: "new", Cluster: "cluster-a", DisksGB: []int64{1, 1},
		StoragePolicy: "Gold", DiskPolicies: []string{"", "Bronze"}})
	if err != nil {
		t.Fatal(err)
	}
	id := vm.Reference().Value
	devices, err := vm.Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	disks := devices.SelectByType((*types.VirtualDisk)(nil))
	expect := func(what string, wantGold, wantBronze []string) {
		t.Helper()
		if diff := cmp.Diff([][]string{wantGold, wantBronze}, [][]string{w.have(gold), w.have(bronze)}); diff != "" {
			t.Errorf("%s: gold and bronze (-want +got):\n%s", what, diff)
		}
	}
	home, disk := "virtualMachine "+id, fmt.Sprintf("virtualDiskId %s:%d", id, disks[1].GetVirtualDevice().Key)
	none := []string{}
	expect("created", []string{home}, []string{disk})

	reconfigure := func(spec types.VirtualMachineConfigSpec) error {
		task, err := vm.Reconfigure(t.Context(), spec)
		if err != nil {
			return err
		}
		return task.WaitEx(t.Context())
	}
	change := func(operation types.VirtualDeviceConfigSpecOperation,
		id *pbmtypes.PbmProfileId) types.VirtualMachineConfigSpec {
		spec := &types.VirtualDeviceConfigSpec{Operation: operation, Device: disks[1]}
		if id != nil {
			spec.Profile = defined(*id)
		}
		return types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{spec}}
	}
	if err := reconfigure(types.VirtualMachineConfigSpec{VmProfile: defined(bronze)}); err != nil {
		t.Fatal(err)
	}
	expect("another home", none, []string{disk, home})
	if err := reconfigure(change(types.VirtualDeviceConfigSpecOperationEdit, &gold)); err != nil {
		t.Fatal(err)
	}
	expect("another disk", []string{disk}, []string{home})
	if err := reconfigure(types.VirtualMachineConfigSpec{ChangeVersion: "stale", VmProfile: defined(gold)}); err == nil {
		t.Error("a stale change was accepted")
	}
	expect("a task that failed", []string{disk}, []string{home})
	if err := reconfigure(types.VirtualMachineConfigSpec{VmProfile: defined(
		pbmtypes.PbmProfileId{UniqueId: "nobody"})}); err == nil {
		t.Error("a policy that is not there was accepted")
	}
	if err := reconfigure(types.VirtualMachineConfigSpec{VmProfile: []types.BaseVirtualMachineProfileSpec{
		&types.VirtualMachineEmptyProfileSpec{}}}); err != nil {
		t.Fatal(err)
	}
	expect("no home", []string{disk}, none)
	if err := reconfigure(change(types.VirtualDeviceConfigSpecOperationRemove, nil)); err != nil {
		t.Fatal(err)
	}
	expect("the disk is gone", none, none)

	folder, err := find.NewFinder(w.Client.Client).Folder(t.Context(), "/DC0/vm")
	if err != nil {
		t.Fatal(err)
	}
	task, err := vm.Clone(t.Context(), folder, "clone", types.VirtualMachineCloneSpec{
		Config: &types.VirtualMachineConfigSpec{VmProfile: defined(gold)}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := task.WaitForResult(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	clone := object.NewVirtualMachine(w.Client.Client, info.Result.(types.ManagedObjectReference))
	expect("a clone", []string{"virtualMachine " + clone.Reference().Value}, none)
	if task, err = clone.Destroy(t.Context()); err == nil {
		err = task.WaitEx(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	expect("the clone is gone", none, none)
}

func TestStoragePoliciesAreKept(t *testing.T) {
	w := newPolicyWorld(t)
	other := newPolicyWorld(t)
	gold := w.made("Gold Storage")
	content := func(id pbmtypes.PbmProfileId) *pbmtypes.PbmCapabilityProfile {
		t.Helper()
		list, err := w.policies.RetrieveContent(t.Context(), []pbmtypes.PbmProfileId{id})
		if err != nil {
			t.Fatal(err)
		}
		return list[0].(*pbmtypes.PbmCapabilityProfile)
	}
	if got := content(gold).K8sCompliantName; got != "gold-storage" {
		t.Errorf("the name for Kubernetes is %q", got)
	}
	if got := content(w.made("gold storage")).K8sCompliantName; got != "gold-storage-2" {
		t.Errorf("the name for Kubernetes of the second is %q", got)
	}
	if _, err := w.create(pbmtypes.PbmCapabilityProfileCreateSpec{Name: "Gold Storage"}); !cmp.Equal(pbmFault(err),
		any(pbmtypes.PbmDuplicateName{Name: "Gold Storage"})) {
		t.Errorf("a name that is taken: %#v", pbmFault(err))
	}
	if _, err := w.create(pbmtypes.PbmCapabilityProfileCreateSpec{Name: "x",
		K8sCompliantName: "gold-storage-latebinding"}); err == nil {
		t.Error("a name for Kubernetes that is taken was accepted")
	}
	if err := w.policies.UpdateProfile(t.Context(), gold, pbmtypes.PbmCapabilityProfileUpdateSpec{
		Name: "gold storage"}); !cmp.Equal(pbmFault(err), any(pbmtypes.PbmDuplicateName{Name: "gold storage"})) {
		t.Errorf("renamed to a name that is taken: %#v", pbmFault(err))
	}
	if err := w.policies.UpdateProfile(t.Context(), gold, pbmtypes.PbmCapabilityProfileUpdateSpec{
		Name: "Platinum"}); err != nil {
		t.Fatal(err)
	}
	if got := content(gold); got.Name != "Platinum" || got.K8sCompliantName != "gold-storage" {
		t.Errorf("renamed: %q, %q", got.Name, got.K8sCompliantName)
	}
	if id, err := other.policies.ProfileIDByName(t.Context(), "Platinum"); err == nil {
		t.Errorf("another vCenter has the policy too: %s", id)
	}

	vm, err := w.VirtualMachine(t.Context(), vcentertest.VM{Name: "new", Cluster: "cluster-a", StoragePolicy: "Platinum"})
	if err != nil {
		t.Fatal(err)
	}
	remove := func() any {
		t.Helper()
		outcome, err := w.policies.DeleteProfile(t.Context(), []pbmtypes.PbmProfileId{gold})
		if err != nil {
			t.Fatal(err)
		}
		if outcome[0].Fault == nil {
			return nil
		}
		return outcome[0].Fault.Fault
	}
	if got := remove(); !cmp.Equal(got, any(&pbmtypes.PbmResourceInUse{Name: "Platinum"})) {
		t.Errorf("deleted while in use: %#v", got)
	}
	if task, err := vm.Destroy(t.Context()); err != nil || task.WaitEx(t.Context()) != nil {
		t.Fatal("destroy", err)
	}
	if got := remove(); got != nil {
		t.Errorf("deleted: %#v", got)
	}
	if id, err := w.policies.ProfileIDByName(t.Context(), "Platinum"); err == nil {
		t.Errorf("it is still there: %s", id)
	}
	if again := w.made("Gold Storage"); again == gold {
		t.Error("a policy made anew has the id of the old one")
	}
}
