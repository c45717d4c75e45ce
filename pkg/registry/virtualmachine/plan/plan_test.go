// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1common "github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/placement"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/plan"
)

func id(kind, value string) facts.ID { return facts.ID{VCenter: "vc", Type: kind, Value: value} }

// world has one namespace, team-a, in two zones.
type world struct {
	home   plan.Home
	class  *vmopv1.VirtualMachineClass
	images map[string][]plan.Image
	wish   placement.Wish
	given  string // to whom a promise was taken back
	full   error
	mhz    int32
}

func newWorld() *world {
	class := &vmopv1.VirtualMachineClass{}
	class.Spec.Hardware = vmopv1.VirtualMachineClassHardware{Cpus: 2, Memory: resource.MustParse("4Gi")}
	class.Spec.Policies.Resources.Requests = vmopv1.VirtualMachineResourceSpec{Cpu: resource.MustParse("1500m"), Memory: resource.MustParse("2Gi")}
	class.Spec.Policies.Resources.Limits = vmopv1.VirtualMachineResourceSpec{Memory: resource.MustParse("4Gi")}
	ubuntu := plan.Image{Kind: "VirtualMachineImage", Name: "vmi-1", Item: &facts.Item{
		Name: "ubuntu", Type: facts.ItemOVF,
		Image: &facts.Image{GuestID: "ubuntu64Guest", Firmware: "efi", HardwareVersion: 21,
			Disks:      []facts.ImageDisk{{Capacity: 20 << 30, File: "disk-0.vmdk"}, {Capacity: 1 << 30}},
			Properties: []facts.Property{{Key: "hostname", Type: "string", UserConfigurable: true}}},
		Files: map[string]facts.ItemFile{"disk-0.vmdk": {URL: "ds:///1/disk-0.vmdk", Size: 3 << 30},
			"tools.iso": {URL: "ds:///1/tools.iso"}},
	}}
	iso := plan.Image{Kind: "VirtualMachineImage", Name: "vmi-2", Item: &facts.Item{Name: "netinst", Type: facts.ItemISO,
		Files: map[string]facts.ItemFile{"netinst.iso": {URL: "ds:///1/netinst.iso", Size: 1 << 30}, "SHA512SUMS": {URL: "ds:///1/sums"}}}}
	elsewhere := plan.Image{Kind: "ClusterVirtualMachineImage", Name: "vmi-5", Item: &facts.Item{Name: "elsewhere", Type: facts.ItemISO,
		Files: map[string]facts.ItemFile{"elsewhere.iso": {URL: "https://example.com/elsewhere.iso"}}}}
	unread := plan.Image{Kind: "VirtualMachineImage", Name: "vmi-3", Item: &facts.Item{Type: facts.ItemOVF, Problem: "its descriptor cannot be read"}}
	away := plan.Image{Kind: "VirtualMachineImage", Name: "vmi-4", Item: &facts.Item{Type: facts.ItemOVF,
		Image: &facts.Image{Disks: []facts.ImageDisk{{File: "disk-0.vmdk"}}}}}
	return &world{
		mhz: 2000,
		home: plan.Home{Folder: id("Folder", "group-1"), Networks: []string{"workload", "storage"},
			Pools: map[string]facts.ID{"a": id("ResourcePool", "pool-a"), "b": id("ResourcePool", "pool-b")}},
		class: class,
		images: map[string][]plan.Image{"ubuntu": {ubuntu}, "vmi-1": {ubuntu}, "netinst": {iso}, "vmi-2": {iso}, "vmi-5": {elsewhere}, "unread": {unread}, "away": {away},
			"twice": {ubuntu, iso}},
	}
}

func (w *world) Get(_ context.Context, namespace, name string) (*vmopv1.VirtualMachineClass, error) {
	if namespace != "team-a" || name != "small" {
		return nil, failure.NotFound
	}
	return w.class, nil
}

func (w *world) Find(_, name string) []plan.Image { return w.images[name] }

func (w *world) Home(namespace string) (plan.Home, bool) { return w.home, namespace == "team-a" }

func (w *world) Policy(class string) (facts.StoragePolicy, []string, bool) {
	return facts.StoragePolicy{ID: "gold-id", Name: "Gold"}, []string{"ds-1"}, class == "gold"
}

func (w *world) Network(name string) (facts.Network, bool) {
	return facts.Network{ID: id("Network", name), Name: name}, name != "unknown"
}

func (w *world) Choose(wish placement.Wish) (placement.Place, error) {
	w.wish = wish
	if w.full != nil {
		return placement.Place{}, w.full
	}
	return placement.Place{Pool: wish.Pools[0], Host: id("HostSystem", "host-1"), Datastore: facts.Datastore{Name: "nfs"}, MHz: w.mhz}, nil
}

func (w *world) Give(machine string) { w.given = machine }

func (w *world) Speed(facts.ID) int32 { return w.mhz }

func (w *world) Path(url string) (string, bool) {
	rest, found := strings.CutPrefix(url, "ds:///1/")
	return "[library] " + rest, found
}

func wanted() *vmopv1.VirtualMachine {
	return &vmopv1.VirtualMachine{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "web", UID: "uid-1", Labels: map[string]string{"topology.kubernetes.io/zone": "b"}},
		Spec:       vmopv1.VirtualMachineSpec{ClassName: "small", ImageName: "ubuntu", StorageClass: "gold", BiosUUID: "bios-1"},
	}
}

func TestPlan(t *testing.T) {
	w := newWorld()
	p := plan.Planner{Classes: w, Images: w, Site: w, Places: w}
	vm := wanted()
	got, forgo, err := p.Plan(t.Context(), vm)
	if err != nil {
		t.Fatal(err)
	}
	want := facts.Shell{
		Name: "web", Home: id("Folder", "group-1"), Folder: id("Folder", "group-1"), Pool: id("ResourcePool", "pool-b"), Host: id("HostSystem", "host-1"), Datastore: "nfs",
		Policy: "gold-id", InstanceUUID: "uid-1", BIOSUUID: "bios-1", GuestID: "ubuntu64Guest", Firmware: "efi", HardwareVersion: "vmx-21",
		Size: facts.Size{CPUs: 2, MemoryMB: 4096, CPU: facts.Allocation{Limit: facts.Unsaid, Reservation: 3000},
			Memory: facts.Allocation{Limit: 4096, Reservation: 2048}},
		Cards:      facts.Cards{{Name: "eth0", ID: id("Network", "workload"), Network: "workload"}},
		Properties: []facts.Property{{Key: "hostname", Type: "string", UserConfigurable: true}},
		Build: facts.Build{Policy: "gold-id", Disks: []facts.BuildDisk{
			{From: "[library] disk-0.vmdk", Capacity: 20 << 30}, {Capacity: 1 << 30}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the shell (-want +got):\n%s", diff)
	}
	// What the files take, and what the memory is swapped to.
	if want := (placement.Wish{Machine: "uid-1", Pools: []facts.ID{id("ResourcePool", "pool-b")}, Policy: "Gold", Datastores: []string{"ds-1"}, Space: 7 << 30}); !cmp.Equal(want, w.wish) {
		t.Errorf("the place that is asked for: %s", cmp.Diff(want, w.wish))
	}
	if w.given != "" {
		t.Errorf("the promise to %s is taken back", w.given)
	}
	if forgo(); w.given != w.wish.Machine {
		t.Errorf("the promise to %q is taken back", w.given)
	}
	filled := wanted().Spec
	filled.Image = &vmopv1.VirtualMachineImageRef{Kind: "VirtualMachineImage", Name: "vmi-1"}
	filled.Network = &vmopv1.VirtualMachineNetworkSpec{Interfaces: []vmopv1.VirtualMachineNetworkInterfaceSpec{
		{Name: "eth0", Network: &vmopv1common.PartialObjectRef{Name: "workload"}}}}
	if diff := cmp.Diff(filled, vm.Spec); diff != "" {
		t.Errorf("the spec that was filled in (-want +got):\n%s", diff)
	}
}

func TestLinkedDisks(t *testing.T) {
	for how, linked := range map[string]bool{"": false, "direct": false, "linked": true, "Linked": true} {
		w, vm := newWorld(), wanted()
		vm.Annotations = map[string]string{"vmoperator.vmware.com/fast-deploy": how}
		shell, _, err := (&plan.Planner{Classes: w, Images: w, Site: w, Places: w}).Plan(t.Context(), vm)
		if err != nil {
			t.Fatal(err)
		}
		if shell.Build.Linked != linked {
			t.Errorf("%q: linked is %t", how, shell.Build.Linked)
		}
	}
}

func TestLargerBootDisk(t *testing.T) {
	w := newWorld()
	vm, size := wanted(), resource.MustParse("30Gi")
	vm.Spec.Advanced = &vmopv1.VirtualMachineAdvancedSpec{BootDiskCapacity: &size}
	shell, _, err := (&plan.Planner{Classes: w, Images: w, Site: w, Places: w}).Plan(t.Context(), vm)
	if err != nil {
		t.Fatal(err)
	}
	want := []facts.BuildDisk{{From: "[library] disk-0.vmdk", Capacity: 30 << 30, Grow: true}, {Capacity: 1 << 30}}
	if diff := cmp.Diff(want, shell.Build.Disks); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A guest that vCenter customises is one that something is left to be done for after its disks.
func TestCustomized(t *testing.T) {
	w, vm := newWorld(), wanted()
	vm.Spec.Bootstrap = &vmopv1.VirtualMachineBootstrapSpec{LinuxPrep: &vmopv1.VirtualMachineBootstrapLinuxPrepSpec{}}
	shell, _, err := (&plan.Planner{Classes: w, Images: w, Site: w, Places: w}).Plan(t.Context(), vm)
	if err != nil || !shell.Build.Customize || shell.Build.Assembled {
		t.Errorf("what is left to be made: %+v, %v", shell.Build, err)
	}
}

func TestWhatCannotBePlanned(t *testing.T) {
	tests := []struct {
		name   string
		change func(*world, *vmopv1.VirtualMachine)
		kind   failure.Kind
		says   string
	}{
		{"no folder yet", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Namespace = "team-b" }, failure.Unavailable, "has no folder in vCenter yet"},
		{"no class", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Spec.ClassName = "huge" }, failure.Invalid, `spec.className: there is no class "huge"`},
		{"no image", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Spec.ImageName = "x" }, failure.Invalid, `spec.imageName: there is no image "x"`},
		{"two images", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Spec.ImageName = "twice" }, failure.Invalid,
			`spec.imageName: multiple VM images exist that are called "twice": name one of vmi-1, vmi-2`},
		{"two images that differ", func(_ *world, vm *vmopv1.VirtualMachine) {
			vm.Spec.Image = &vmopv1.VirtualMachineImageRef{Name: "vmi-1"}
			vm.Spec.ImageName = "netinst"
		}, failure.Invalid, "spec.imageName: it names another image than spec.image.name"},
		{"an image by its other name", func(_ *world, vm *vmopv1.VirtualMachine) {
			vm.Spec.Image = &vmopv1.VirtualMachineImageRef{Name: "ubuntu"}
		}, failure.Invalid, `spec.image.name: the image that vCenter calls "ubuntu" is vmi-1 here`},
		{"an ISO image", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Spec.ImageName = "netinst" }, failure.Invalid,
			`spec.imageName: the image "vmi-2" is of the type ISO: name it in spec.hardware.cdrom too`},
		{"a disc of a machine's image", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Spec.Hardware = drive("vmi-1") }, failure.Invalid,
			`spec.hardware.cdrom[0].image.name: the image "vmi-1" is of the type OVF`},
		{"a disc that is not there", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Spec.Hardware = drive("x") }, failure.Invalid,
			`spec.hardware.cdrom[0].image.name: there is no image "x"`},
		{"a disc by its other name", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Spec.Hardware = drive("netinst") }, failure.Invalid,
			"spec.hardware.cdrom[0].image.name: it has to be an object's name, such as vmi-2"},
		{"a disc of another kind", func(_ *world, vm *vmopv1.VirtualMachine) {
			vm.Spec.Hardware = drive("vmi-2")
			vm.Spec.Hardware.Cdrom[0].Image.Kind = "ClusterVirtualMachineImage"
		}, failure.Invalid, `spec.hardware.cdrom[0].image.kind: the image "vmi-2" is a VirtualMachineImage`},
		{"a disc on no datastore", func(_ *world, vm *vmopv1.VirtualMachine) {
			vm.Spec.Hardware = drive("vmi-5")
			vm.Spec.Hardware.Cdrom[0].Image.Kind = "ClusterVirtualMachineImage"
		}, failure.Unavailable,
			"synchronise the item"},
		{"an image that cannot be read", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Spec.ImageName = "unread" }, failure.Unavailable,
			"its descriptor cannot be read"},
		{"an image without contents", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Spec.ImageName = "away" }, failure.Unavailable, "synchronise the item"},
		{"a smaller boot disk", func(_ *world, vm *vmopv1.VirtualMachine) {
			size := resource.MustParse("1Gi")
			vm.Spec.Advanced = &vmopv1.VirtualMachineAdvancedSpec{BootDiskCapacity: &size}
		}, failure.Invalid, "spec.advanced.bootDiskCapacity: the image's disk has 20480 MiB already"},
		{"an odd boot disk", func(_ *world, vm *vmopv1.VirtualMachine) {
			size := resource.MustParse("32212254721")
			vm.Spec.Advanced = &vmopv1.VirtualMachineAdvancedSpec{BootDiskCapacity: &size}
		}, failure.Invalid, "multiple of 1 MiB"},
		{"a linked disk that is larger", func(_ *world, vm *vmopv1.VirtualMachine) {
			size := resource.MustParse("30Gi")
			vm.Spec.Advanced = &vmopv1.VirtualMachineAdvancedSpec{BootDiskCapacity: &size}
			vm.Annotations = map[string]string{"vmoperator.vmware.com/fast-deploy": "linked"}
		}, failure.Invalid, "spec.advanced.bootDiskCapacity: a linked disk is as large as the image's, which has 20480 MiB"},
		{"no network", func(w *world, _ *vmopv1.VirtualMachine) { w.home.Networks = nil }, failure.Invalid,
			"spec.network.interfaces[0].network.name: the namespace was given no network"},
		{"an unknown network", func(w *world, _ *vmopv1.VirtualMachine) { w.home.Networks = []string{"unknown"} }, failure.Invalid, `there is no network "unknown"`},
		{"no storage class", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Spec.StorageClass = "tin" }, failure.Invalid,
			`spec.storageClass: no storage policy of vCenter has the storage class "tin"`},
		{"another zone", func(_ *world, vm *vmopv1.VirtualMachine) { vm.Labels["topology.kubernetes.io/zone"] = "z" }, failure.Invalid,
			`metadata.labels[topology.kubernetes.io/zone]: the namespace has no zone "z"`},
		{"no pools", func(w *world, vm *vmopv1.VirtualMachine) { vm.Labels, w.home.Pools = nil, nil }, failure.Unavailable, "has no resource pools yet"},
		{"a property that the image has not", func(_ *world, vm *vmopv1.VirtualMachine) {
			vm.Spec.Bootstrap = &vmopv1.VirtualMachineBootstrapSpec{VAppConfig: &vmopv1.VirtualMachineBootstrapVAppConfigSpec{
				Properties: []vmopv1common.KeyValueOrSecretKeySelectorPair{{Key: "name"}}}}
		}, failure.Invalid, `spec.bootstrap.vAppConfig.properties[0].key: there is no property "name": there are hostname`},
		{"no room", func(w *world, _ *vmopv1.VirtualMachine) { w.full = failure.ResourceExhausted }, failure.ResourceExhausted, "find a place for it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, vm := newWorld(), wanted()
			test.change(w, vm)
			_, _, err := (&plan.Planner{Classes: w, Images: w, Site: w, Places: w}).Plan(t.Context(), vm)
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want a failure of the kind %q that says %q", err, test.kind, test.says)
			}
		})
	}
}

func TestNoNetwork(t *testing.T) {
	w, vm := newWorld(), wanted()
	w.home.Networks, vm.Spec.Network = nil, &vmopv1.VirtualMachineNetworkSpec{Disabled: true}
	shell, _, err := (&plan.Planner{Classes: w, Images: w, Site: w, Places: w}).Plan(t.Context(), vm)
	if err != nil || len(shell.Cards) > 0 || len(vm.Spec.Network.Interfaces) > 0 {
		t.Errorf("networks %v, %v", shell.Cards, err)
	}
}

// TestNoSizeOverflows: a class may have been stored before what it says was looked at.
func TestNoSizeOverflows(t *testing.T) {
	w := newWorld()
	w.class.Spec.Hardware.Cpus = 1<<32 + 2
	p := plan.Planner{Classes: w, Images: w, Site: w, Places: w}
	if size, err := p.Size(t.Context(), wanted(), facts.ID{}); !errors.Is(err, failure.Invalid) {
		t.Errorf("its size is told as %+v: %v", size, err)
	}
}

// What a class reserves and limits is not left out where nobody knows what it comes to.
func TestSpeedUnknown(t *testing.T) {
	w := newWorld()
	w.mhz = 0
	p := plan.Planner{Classes: w, Images: w, Site: w, Places: w}
	if _, _, err := p.Plan(t.Context(), wanted()); !errors.Is(err, failure.Unavailable) || w.given != "uid-1" {
		t.Errorf("a machine is made without what its class reserves: %v, and %q has its place still", err, w.given)
	}
	if size, err := p.Size(t.Context(), wanted(), facts.ID{}); !errors.Is(err, failure.Unavailable) {
		t.Errorf("its size is told as %+v: %v", size, err)
	}
	w.class.Spec.Policies = vmopv1.VirtualMachineClassPolicies{}
	unsaid := facts.Allocation{Limit: facts.Unsaid, Reservation: facts.Unsaid}
	want := facts.Size{CPUs: 2, MemoryMB: 4096, CPU: unsaid, Memory: unsaid}
	if size, err := p.Size(t.Context(), wanted(), facts.ID{}); err != nil || size != want {
		t.Errorf("the size by a class that reserves nothing is told as %+v: %v", size, err)
	}
}
