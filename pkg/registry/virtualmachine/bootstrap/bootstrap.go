// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"context"
	"fmt"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/cloudinit"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/customization"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/secret"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/vapp"
)

// Bootstrap is what guests are told. Its fields are set before use.
type Bootstrap struct {
	Secrets secret.Secrets
}

// Tell returns what a machine's guest is told. cards are those of its interfaces, in their order, and then all others.
func (b *Bootstrap) Tell(ctx context.Context, vm *vmopv1.VirtualMachine, cards []facts.Card) (facts.Told, error) {
	spec := vm.Spec.Bootstrap
	if spec == nil {
		return facts.Told{}, nil
	}
	values, err := secret.Read(ctx, b.Secrets, vm.Namespace, references(&vm.Spec))
	if err != nil {
		return facts.Told{}, err
	}
	var told facts.Told
	if spec.CloudInit != nil {
		if told.Options, err = cloudinit.Options(vm, cards, values); err != nil {
			return facts.Told{}, err
		}
	}
	templates, err := vapp.NewTemplates(vm, cards)
	if err != nil {
		return facts.Told{}, err
	}
	if spec.VAppConfig != nil {
		if told.Properties, err = vapp.Values(spec.VAppConfig, templates, values); err != nil {
			return facts.Told{}, err
		}
	}
	if told.Customization, err = customization.Of(vm, cards, values, templates.Fill); err != nil {
		return facts.Told{}, err
	}
	return told, nil
}

// references are all the Secrets that a guest is told something of: whatever is read is one of these.
func references(spec *vmopv1.VirtualMachineSpec) (found []secret.Reference) {
	if spec.Bootstrap == nil {
		return nil
	}
	if spec.Bootstrap.CloudInit != nil {
		found = append(found, cloudinit.References(spec.Bootstrap.CloudInit)...)
	}
	found = append(found, customization.References(spec.Bootstrap)...)
	if spec.Bootstrap.VAppConfig != nil {
		found = append(found, vapp.References(spec.Bootstrap.VAppConfig)...)
	}
	return found
}

// Private says whether a machine's guest is told any Secret.
func (b *Bootstrap) Private(vm *vmopv1.VirtualMachine) bool { return len(references(&vm.Spec)) > 0 }

// maxSecrets are as many as a machine's guest is told something of. Each costs a question to the cluster when they are
// named, and two when they are read.
const maxSecrets = 64

// SecretsOf are the names of the Secrets that a machine's guest is told something of, each once, and one more than Validate
// lets pass at most.
func SecretsOf(spec *vmopv1.VirtualMachineSpec) (names []string) {
	known := map[string]bool{}
	for _, reference := range references(spec) {
		if !known[reference.Name] && len(names) <= maxSecrets {
			names = append(names, reference.Name)
		}
		known[reference.Name] = true
	}
	return names
}

// Normalise writes what is raw JSON in one way, so that what says the same is the same.
func Normalise(spec *vmopv1.VirtualMachineSpec) {
	if spec.Bootstrap != nil && spec.Bootstrap.CloudInit != nil && spec.Bootstrap.CloudInit.CloudConfig != nil {
		cloudinit.Normalise(spec.Bootstrap.CloudInit.CloudConfig)
	}
}

// Customizes says whether vCenter is to customise a machine's guest before its first start.
func Customizes(spec *vmopv1.VirtualMachineSpec) bool { return customization.Asked(spec) }

// Retells says whether a machine's guest is told of its network anew when that changes: cloud-init reads it at each start,
// while what vCenter sets in a guest, and vApp properties, are for its first start alone.
func Retells(spec *vmopv1.VirtualMachineSpec) bool {
	return spec.Bootstrap != nil && spec.Bootstrap.CloudInit != nil
}

// Network returns what a guest that is told of its network anew is told of it. cards are as Tell wants them.
func (b *Bootstrap) Network(vm *vmopv1.VirtualMachine, cards []facts.Card) (map[string]string, error) {
	if !Retells(&vm.Spec) {
		return nil, nil
	}
	return cloudinit.Metadata(vm, cards)
}

// Fits says why a machine of an image cannot have its guest told what its spec says, nil where it can. guest is the
// operating system that the machine is configured for, in vCenter's words.
func Fits(vm *vmopv1.VirtualMachine, guest string, properties []facts.Property) error {
	spec := vm.Spec.Bootstrap
	if spec == nil {
		return nil
	}
	switch windows := strings.HasPrefix(guest, "win"); {
	case spec.LinuxPrep != nil && windows:
		return fmt.Errorf("spec.bootstrap.linuxPrep: the guest is %s, which is Windows: use sysprep: %w", guest, failure.Invalid)
	case spec.Sysprep != nil && !windows:
		return fmt.Errorf("spec.bootstrap.sysprep: the guest is %s, which is not Windows: use cloudInit or linuxPrep, or name "+
			"the guest in spec.guestID: %w", guest, failure.Invalid)
	case spec.VAppConfig != nil:
		return vapp.Fits(vm, spec.VAppConfig, properties)
	}
	return nil
}
