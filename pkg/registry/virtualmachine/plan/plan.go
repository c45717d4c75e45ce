// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/placement"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

// Classes are the virtual machine classes.
type Classes interface {
	// Get returns a class, and an error that wraps failure.NotFound where there is none.
	Get(ctx context.Context, namespace, name string) (*vmopv1.VirtualMachineClass, error)
}

// Image is one that a name stands for.
type Image struct {
	Kind, Name string
	Item       *facts.Item
}

// Images know the images of namespaces.
type Images interface {
	// Find returns those that a name stands for in a namespace.
	Find(namespace, name string) []Image
}

// Home is what a namespace has in vCenter.
type Home struct {
	Folder facts.ID
	// Pools are its resource pools, by zone.
	Pools map[string]facts.ID
	// Networks are the names of those that it was given, the default first.
	Networks []string

	// below is the folder in it in which the machine is to lie, zero for none, and instead has the resource pools that
	// it is to take from in place of those, nil for those themselves.
	below   facts.ID
	instead map[facts.ID]facts.ID
}

// Site is what vCenter has, as it is known.
type Site interface {
	Home(namespace string) (Home, bool)
	// Policy returns the storage policy that a StorageClass stands for, and the datastores that satisfy it.
	Policy(class string) (policy facts.StoragePolicy, datastores []string, found bool)
	Network(name string) (facts.Network, bool)
}

// Places are where machines can lie; placement.Chooser is.
type Places interface {
	Choose(placement.Wish) (placement.Place, error)
	// Give takes back the promise of Choose to the machine of an instance UUID.
	Give(machine string)
	Path(url string) (path string, found bool)
	// Speed is how many MHz a CPU of a cluster has at least, 0 where nothing tells.
	Speed(cluster facts.ID) int32
}

// Policies are the VirtualMachineSetResourcePolicies.
type Policies interface {
	// Use returns where the machines of a policy go: a folder, zero where it asks for none, and in place of each of the
	// namespace's resource pools another, nil where it asks for none. It keeps them there for the machine of that instance
	// UUID until that is seen, or Done is called. Errors have a failure kind: NotFound, Conflict for a policy that is
	// being deleted, Invalid for one that has no such group of machines, and Unavailable.
	Use(ctx context.Context, namespace, name, group, machine string) (folder facts.ID, pools map[facts.ID]facts.ID, err error)
	Done(namespace, machine string)
}

// Planner plans. Its fields are set before use.
type Planner struct {
	Policies Policies
	Classes  Classes
	Images   Images
	Site     Site
	Places   Places
}

// Plan works out the shell of a machine, and fills in what its spec leaves open and is decided now: the image by its own
// name, and the network card that every machine has. The space that it takes is promised to it; forgo is to be called
// when the machine was not made.
func (p *Planner) Plan(ctx context.Context, vm *vmopv1.VirtualMachine) (shell facts.Shell, forgo func(), err error) {
	spec := field.NewPath("spec")
	home, found := p.Site.Home(vm.Namespace)
	if !found {
		return facts.Shell{}, nil, noFolder(vm.Namespace)
	}
	release, err := p.join(ctx, vm, &home, spec)
	if err != nil {
		return facts.Shell{}, nil, err
	}
	shell, err = p.shell(ctx, vm, home, spec)
	if err != nil {
		release()
		return facts.Shell{}, nil, err
	}
	return shell, func() {
		release()
		p.Places.Give(string(vm.UID))
	}, nil
}

// join has the machine go where those of its resource policy go.
func (p *Planner) join(ctx context.Context, vm *vmopv1.VirtualMachine, home *Home, spec *field.Path) (release func(), err error) {
	if vm.Spec.Reserved == nil || vm.Spec.Reserved.ResourcePolicyName == "" {
		return func() {}, nil
	}
	name, path := vm.Spec.Reserved.ResourcePolicyName, spec.Child("reserved", "resourcePolicyName")
	group := vm.Annotations[vmoperator.ModuleGroupAnnotation]
	home.below, home.instead, err = p.Policies.Use(ctx, vm.Namespace, name, group, string(vm.UID))
	switch {
	case errors.Is(err, failure.NotFound):
		return nil, invalid(path, "there is no resource policy %q in the namespace: see `kubectl get "+
			"virtualmachinesetresourcepolicies --namespace %s`", name, vm.Namespace)
	case errors.Is(err, failure.Invalid):
		path = field.NewPath("metadata", "annotations").Key(vmoperator.ModuleGroupAnnotation)
		fallthrough
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() { p.Policies.Done(vm.Namespace, string(vm.UID)) }, nil
}

// shell is what the machine comes to in its namespace.
func (p *Planner) shell(ctx context.Context, vm *vmopv1.VirtualMachine, home Home, spec *field.Path) (facts.Shell, error) {
	shell := facts.Shell{
		Name: vm.Name, Home: home.Folder, Folder: cmp.Or(home.below, home.Folder), InstanceUUID: string(vm.UID), BIOSUUID: vm.Spec.BiosUUID, GuestID: vm.Spec.GuestID,
	}
	class, err := p.class(ctx, vm, spec)
	if err != nil {
		return facts.Shell{}, err
	}
	image, err := p.image(vm, spec)
	if err != nil {
		return facts.Shell{}, err
	}
	space, err := p.disks(vm, image, &shell, spec)
	if err != nil {
		return facts.Shell{}, err
	}
	if shell.Cards, err = p.cards(vm, home, nil); err != nil {
		return facts.Shell{}, err
	}
	if err := firmware(vm, image.Item.Image, &shell, spec); err != nil {
		return facts.Shell{}, err
	}
	shell.Properties, shell.Build.Customize = image.Item.Image.Properties, bootstrap.Customizes(&vm.Spec)
	if err := bootstrap.Fits(vm, shell.GuestID, shell.Properties); err != nil {
		return facts.Shell{}, err
	}
	space += class.Spec.Hardware.Memory.Value() // what it is swapped to
	if shell.Drives, err = p.Drives(vm, nil); err != nil {
		return facts.Shell{}, err
	}
	place, err := p.place(vm, home, space, &shell, spec)
	if err != nil {
		return facts.Shell{}, err
	}
	if shell.Size, err = size(class, place.MHz); err != nil {
		p.Places.Give(string(vm.UID))
		return facts.Shell{}, err
	}
	return shell, nil
}

func (p *Planner) class(ctx context.Context, vm *vmopv1.VirtualMachine, spec *field.Path) (*vmopv1.VirtualMachineClass, error) {
	path := spec.Child("className")
	if vm.Spec.ClassName == "" {
		return nil, invalid(path, "name a class of the namespace: see `kubectl get virtualmachineclasses --namespace %s`", vm.Namespace)
	}
	class, err := p.Classes.Get(ctx, vm.Namespace, vm.Spec.ClassName)
	switch {
	case errors.Is(err, failure.NotFound):
		return nil, invalid(path, "there is no class %q in the namespace: see `kubectl get virtualmachineclasses --namespace %s`",
			vm.Spec.ClassName, vm.Namespace)
	case err != nil:
		return nil, fmt.Errorf("read the class %q: %w", vm.Spec.ClassName, err)
	}
	return class, nil
}

// image finds the image, and writes down by its own name which it is.
func (p *Planner) image(vm *vmopv1.VirtualMachine, spec *field.Path) (Image, error) {
	path, name := spec.Child("imageName"), vm.Spec.ImageName
	if vm.Spec.Image != nil && vm.Spec.Image.Name != "" {
		path, name = spec.Child("image", "name"), vm.Spec.Image.Name
	}
	list := fmt.Sprintf("see `kubectl get virtualmachineimages --namespace %s`", vm.Namespace)
	if name == "" {
		return Image{}, invalid(path, "name an image of the namespace: %s", list)
	}
	found := p.Images.Find(vm.Namespace, name)
	switch {
	case len(found) == 0:
		return Image{}, invalid(path, "there is no image %q: %s", name, list)
	case len(found) > 1:
		names := make([]string, len(found))
		for i := range found {
			names[i] = found[i].Name
		}
		return Image{}, invalid(path, "multiple VM images exist that are called %q: name one of %s", name, strings.Join(names, ", "))
	}
	image := found[0]
	if path.String() == "spec.image.name" && image.Name != name {
		return Image{}, invalid(path, "the image that vCenter calls %q is %s here: name it so, or leave spec.image out and "+
			"use spec.imageName", name, image.Name)
	}
	if other := vm.Spec.ImageName; other != "" && other != name && !slices.ContainsFunc(p.Images.Find(vm.Namespace, other),
		func(also Image) bool { return also.Name == image.Name }) {
		return Image{}, invalid(spec.Child("imageName"), "it names another image than spec.image.name: leave one of them out")
	}
	image, err := contents(vm, image, path)
	if err != nil {
		return Image{}, err
	}
	vm.Spec.Image = &vmopv1.VirtualMachineImageRef{Kind: image.Kind, Name: image.Name}
	if vm.Spec.ImageName == "" {
		vm.Spec.ImageName = image.Name
	}
	return image, nil
}

// disks says what the disks are copies of, and returns how many bytes those take.
func (p *Planner) disks(vm *vmopv1.VirtualMachine, image Image, shell *facts.Shell, spec *field.Path) (space int64, err error) {
	if shell.Build.Linked, err = linked(vm, image); err != nil {
		return 0, err
	}
	for number, disk := range image.Item.Image.Disks {
		build := facts.BuildDisk{Capacity: disk.Capacity}
		if disk.File != "" {
			file, found := image.Item.Files[disk.File]
			from, known := p.Places.Path(file.URL)
			if !found || !known {
				return 0, fmt.Errorf("the file %q of the image %q is on no datastore of vCenter: if its content library is a subscribed "+
					"one that gets contents only when they are needed, synchronise the item: %w", disk.File, image.Name, failure.Unavailable)
			}
			build.From, space = from, space+file.Size
		}
		if number == 0 && vm.Spec.Advanced != nil && vm.Spec.Advanced.BootDiskCapacity != nil {
			wanted, path := vm.Spec.Advanced.BootDiskCapacity, spec.Child("advanced", "bootDiskCapacity")
			switch {
			case wanted.Value() < disk.Capacity:
				return 0, invalid(path, "the image's disk has %d MiB already, and none can be made smaller", disk.Capacity>>20)
			case wanted.Value()%(1<<20) != 0:
				return 0, invalid(path, "it has to be a multiple of 1 MiB")
			case wanted.Value() > disk.Capacity && shell.Build.Linked:
				return 0, invalid(path, "a linked disk is as large as the image's, which has %d MiB, and cannot grow: leave it out, "+
					"or leave out the annotation %s", disk.Capacity>>20, vmoperator.FastDeployAnnotation)
			case wanted.Value() > disk.Capacity:
				build.Capacity, build.Grow = wanted.Value(), build.From != ""
			}
		}
		shell.Build.Disks = append(shell.Build.Disks, build)
	}
	return space, nil
}

// linked says whether the disks are to stand on those of the image.
func linked(vm *vmopv1.VirtualMachine, image Image) (bool, error) {
	if !vmoperator.Linked(vm.Annotations) {
		return false, nil
	}
	copies := slices.ContainsFunc(image.Item.Image.Disks, func(disk facts.ImageDisk) bool { return disk.File != "" })
	if !copies {
		return false, invalid(field.NewPath("metadata", "annotations").Key(vmoperator.FastDeployAnnotation),
			"the image %q has no disk that others could stand on: leave the annotation out", image.Name)
	}
	return true, nil
}

func firmware(vm *vmopv1.VirtualMachine, image *facts.Image, shell *facts.Shell, spec *field.Path) error {
	shell.Firmware = image.Firmware
	if shell.GuestID == "" {
		shell.GuestID = image.GuestID
	}
	version := max(image.HardwareVersion, vm.Spec.MinHardwareVersion)
	if version > 0 {
		shell.HardwareVersion = fmt.Sprintf("vmx-%02d", version)
	}
	if boot := vm.Spec.BootOptions; boot != nil && boot.Firmware != "" {
		if boot.Firmware != vmopv1.VirtualMachineBootOptionsFirmwareTypeBIOS && boot.Firmware != vmopv1.VirtualMachineBootOptionsFirmwareTypeEFI {
			return invalid(spec.Child("bootOptions", "firmware"), "it has to be bios or efi")
		}
		shell.Firmware = strings.ToLower(string(boot.Firmware))
	}
	return nil
}

// place decides where the machine is to lie.
func (p *Planner) place(vm *vmopv1.VirtualMachine, home Home, space int64, shell *facts.Shell, spec *field.Path) (placement.Place, error) {
	path := spec.Child("storageClass")
	if vm.Spec.StorageClass == "" {
		return placement.Place{}, invalid(path, "name a storage class of the namespace: see `kubectl get resourcequota --namespace %s`", vm.Namespace)
	}
	policy, datastores, found := p.Site.Policy(vm.Spec.StorageClass)
	if !found {
		return placement.Place{}, invalid(path, "no storage policy of vCenter has the storage class %q", vm.Spec.StorageClass)
	}
	wish := placement.Wish{Machine: string(vm.UID), Policy: policy.Name, Datastores: datastores, Space: space}
	zone := vm.Labels[corev1.LabelTopologyZone]
	for name, pool := range home.Pools {
		if _, has := home.instead[pool]; home.instead != nil && !has {
			continue // the resource policy has nothing there yet
		}
		if zone == "" || zone == name {
			wish.Pools = append(wish.Pools, pool)
		}
	}
	if len(wish.Pools) == 0 {
		if zone != "" {
			return placement.Place{}, invalid(field.NewPath("metadata", "labels").Key(corev1.LabelTopologyZone),
				"the namespace has no zone %q: see `kubectl get zones --namespace %s`", zone, vm.Namespace)
		}
		return placement.Place{}, fmt.Errorf("the namespace %q has no resource pools yet; see its condition with `kubectl get vns %s -o yaml`: %w",
			vm.Namespace, vm.Namespace, failure.Unavailable)
	}
	place, err := p.Places.Choose(wish)
	if err != nil {
		return placement.Place{}, fmt.Errorf("find a place for it: %w", err)
	}
	shell.Pool, shell.Host, shell.Datastore = cmp.Or(home.instead[place.Pool], place.Pool), place.Host, place.Datastore.Name
	shell.Policy, shell.Build.Policy = policy.ID, policy.ID
	return place, nil
}

// Size works out how large a machine that is there is to be, by its class. It runs in a cluster.
func (p *Planner) Size(ctx context.Context, vm *vmopv1.VirtualMachine, cluster facts.ID) (facts.Size, error) {
	class, err := p.class(ctx, vm, field.NewPath("spec"))
	if err != nil {
		return facts.Size{}, err
	}
	return size(class, p.Places.Speed(cluster))
}

// size is what a class says; of what it says nothing, what a machine has stays. It counts CPUs, vCenter the speed of the slowest that they may run on: while nothing tells
// that, what a class reserves and limits cannot be said, and is not to be left out, since it is written down once.
func size(class *vmopv1.VirtualMachineClass, mhz int32) (facts.Size, error) {
	requests, limits := class.Spec.Policies.Resources.Requests, class.Spec.Policies.Resources.Limits
	if cpus, memory := class.Spec.Hardware.Cpus, class.Spec.Hardware.Memory.Value()>>20; cpus != int64(int32(cpus)) ||
		memory != int64(int32(memory)) {
		return facts.Size{}, fmt.Errorf("the class %q has %d CPUs and %d MiB of memory, more than vCenter counts: have it "+
			"changed, or take another one: %w", class.Name, cpus, memory, failure.Invalid)
	}
	if mhz == 0 && (!requests.Cpu.IsZero() || !limits.Cpu.IsZero()) {
		return facts.Size{}, fmt.Errorf("the class %q reserves or limits CPUs, and how fast those are is not known: no host of "+
			"the cluster is connected and out of maintenance: %w", class.Name, failure.Unavailable)
	}
	inMHz := func(q resource.Quantity) int64 { return said(q, q.MilliValue()*int64(mhz)/1000) }
	inMiB := func(q resource.Quantity) int64 { return said(q, q.Value()>>20) }
	return facts.Size{
		CPUs: int32(class.Spec.Hardware.Cpus), MemoryMB: class.Spec.Hardware.Memory.Value() >> 20,
		CPU:    facts.Allocation{Limit: inMHz(limits.Cpu), Reservation: inMHz(requests.Cpu)},
		Memory: facts.Allocation{Limit: inMiB(limits.Memory), Reservation: inMiB(requests.Memory)},
	}, nil
}

// said is an amount of which a class says something, and Unsaid else.
func said(q resource.Quantity, amount int64) int64 {
	if q.IsZero() {
		return facts.Unsaid
	}
	return amount
}

// invalid says what is wrong with a field.
func invalid(path *field.Path, format string, arguments ...any) error {
	return fmt.Errorf("%s: "+format+": %w", slices.Concat([]any{path}, arguments, []any{failure.Invalid})...)
}
