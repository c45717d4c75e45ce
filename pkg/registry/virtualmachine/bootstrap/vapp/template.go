// SPDX-License-Identifier: Apache-2.0

package vapp

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"text/template"
	"text/template/parse"

	vmopv1a1 "github.com/vmware-tanzu/vm-operator/api/v1alpha1"
	vmopv1a2 "github.com/vmware-tanzu/vm-operator/api/v1alpha2"
	vmopv1a3 "github.com/vmware-tanzu/vm-operator/api/v1alpha3"
	vmopv1a4 "github.com/vmware-tanzu/vm-operator/api/v1alpha4"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"sigs.k8s.io/controller-runtime/pkg/conversion"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/network"
)

const (
	// maxTemplate is how many bytes a template may have, and maxFilled what comes of all those of a machine.
	maxTemplate, maxFilled = 128 << 10, 1 << 20
	// each is the function that looks at what a template goes through.
	each = "each"
)

// errBlocks says what a template may not have.
var errBlocks = errors.New("define, block and template cannot be used")

// Templates fills in what templates leave open, as vm-operator does: with the machine and its network at each version of
// the API, and with functions of each version.
type Templates struct {
	machine *vmopv1.VirtualMachine
	net     net
	// begin is what a template begins with, nil before the first one, and left how many bytes may come of others.
	begin any
	left  int
}

// NewTemplates are those of a machine with its network cards.
func NewTemplates(vm *vmopv1.VirtualMachine, cards []facts.Card) (*Templates, error) {
	interfaces, err := network.Interfaces(vm, cards)
	if err != nil {
		return nil, err
	}
	return &Templates{machine: vm, net: netOf(interfaces, network.Nameservers(vm)), left: maxFilled}, nil
}

// Fill fills in a template. A text without any comes back as it is, but that \{ and \} are braces.
func (t *Templates) Fill(text string) (string, error) {
	if !strings.Contains(text, "{{") {
		return braces(text), nil
	}
	parsed, err := parsed(text, t.net)
	if err != nil {
		return "", err
	}
	if t.begin == nil {
		if t.begin, err = t.data(); err != nil {
			return "", err
		}
	}
	filled := &filling{left: t.left}
	if err := parsed.Execute(filled, t.begin); err != nil {
		return "", err
	}
	t.left = filled.left
	return braces(filled.String()), nil
}

// braces are what vm-operator has escaped where they are none of a template's.
func braces(text string) string {
	return strings.NewReplacer(`\{`, "{", `\}`, "}").Replace(text)
}

// parsed reads a template, and has it go through a list no more often than it may.
func parsed(text string, with net) (*template.Template, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("it has %d bytes, and a template may have %d", len(text), maxTemplate)
	}
	limit := &budget{left: maxRounds}
	functions := template.FuncMap{each: limit.each}
	maps.Copy(functions, bounded())
	for version := 1; version <= 5; version++ {
		maps.Copy(functions, with.functions(fmt.Sprintf("V1alpha%d_", version)))
	}
	made, err := template.New("value").Funcs(functions).Parse(text)
	if err != nil {
		return nil, err
	}
	if len(made.Templates()) > 1 {
		return nil, errBlocks
	}
	return made, watch(made.Root)
}

// watch has a template's loops ask before each.
func watch(node parse.Node) error {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := watch(child); err != nil {
				return err
			}
		}
	case *parse.TemplateNode:
		return errBlocks
	case *parse.IfNode:
		return watchBoth(&n.BranchNode)
	case *parse.WithNode:
		return watchBoth(&n.BranchNode)
	case *parse.RangeNode:
		ask := parse.NewIdentifier(each).SetPos(n.Position())
		n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Position(), Args: []parse.Node{ask}})
		return watchBoth(&n.BranchNode)
	}
	return nil
}

func watchBoth(branch *parse.BranchNode) error {
	if err := watch(branch.List); err != nil {
		return err
	}
	return watch(branch.ElseList)
}

// filling is what came of a template.
type filling struct {
	strings.Builder
	left int
}

func (f *filling) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, fmt.Errorf("it comes to more than %d bytes", maxFilled)
	}
	return f.Builder.Write(p)
}

// data is what a template begins with: the machine and its network, at each version.
func (t *Templates) data() (any, error) {
	data := struct {
		V1alpha1 vmopv1a1.VirtualMachineTemplate
		V1alpha2 vmopv1a2.VirtualMachineTemplate
		V1alpha3 vmopv1a3.VirtualMachineTemplate
		V1alpha4 vmopv1a4.VirtualMachineTemplate
		V1alpha5 vmopv1.VirtualMachineTemplate
	}{}
	data.V1alpha1.VM, data.V1alpha2.VM = &vmopv1a1.VirtualMachine{}, &vmopv1a2.VirtualMachine{}
	data.V1alpha3.VM, data.V1alpha4.VM = &vmopv1a3.VirtualMachine{}, &vmopv1a4.VirtualMachine{}
	data.V1alpha5.VM = t.machine.DeepCopy()
	for _, older := range []conversion.Convertible{data.V1alpha1.VM, data.V1alpha2.VM, data.V1alpha3.VM, data.V1alpha4.VM} {
		if err := older.ConvertFrom(t.machine.DeepCopy()); err != nil {
			return nil, fmt.Errorf("convert the virtual machine to an older version: %w", err)
		}
	}
	names := t.net.nameservers
	data.V1alpha1.Net.Nameservers, data.V1alpha2.Net.Nameservers, data.V1alpha3.Net.Nameservers = names, names, names
	data.V1alpha4.Net.Nameservers, data.V1alpha5.Net.Nameservers = names, names
	for _, d := range t.net.devices {
		data.V1alpha1.Net.Devices = append(data.V1alpha1.Net.Devices, vmopv1a1.NetworkDeviceStatus(d))
		data.V1alpha2.Net.Devices = append(data.V1alpha2.Net.Devices, vmopv1a2.NetworkDeviceStatus(d))
		data.V1alpha3.Net.Devices = append(data.V1alpha3.Net.Devices, vmopv1a3.NetworkDeviceStatus(d))
		data.V1alpha4.Net.Devices = append(data.V1alpha4.Net.Devices, vmopv1a4.NetworkDeviceStatus(d))
		data.V1alpha5.Net.Devices = append(data.V1alpha5.Net.Devices, d)
	}
	return data, nil
}
