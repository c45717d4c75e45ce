// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// Veil has the properties of a machine unset that vCenter reads from the machine's
// files, or shows them again. The simulator counts on a configuration, so that the
// machine keeps it.
func (t *Tracker) Veil(machine types.ManagedObjectReference, on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if on {
		t.veiled[machine] = true
	} else {
		delete(t.veiled, machine)
	}
	t.mark(machine, false)
	t.notify()
}

// Veiled says whether a machine's files cannot be read.
func (t *Tracker) Veiled(machine types.ManagedObjectReference) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.veiled[machine]
}

// veil takes out of contents, which are copies, what vCenter cannot read.
func (t *Tracker) veil(contents []types.ObjectContent) {
	for i, content := range contents {
		if content.Obj.Type != "VirtualMachine" || !t.Veiled(content.Obj) {
			continue
		}
		var kept []types.DynamicProperty
		for _, property := range content.PropSet {
			if unreadable(property.Name) {
				continue
			}
			switch value := property.Val.(type) {
			case types.VirtualMachineSummary:
				value.Config = unread(value.Config)
				property.Val = value
			case types.VirtualMachineConfigSummary:
				property.Val = unread(value)
			}
			kept = append(kept, property)
		}
		contents[i].PropSet = kept
	}
}

// unreadable says whether a property comes from a machine's files.
func unreadable(path string) bool {
	for _, of := range []string{"config", "layout", "layoutEx", "snapshot", "rootSnapshot"} {
		if rest, ok := strings.CutPrefix(path, of); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	switch field, ok := strings.CutPrefix(path, "summary.config."); field {
	case "name", "template", "vmPathName":
		return false
	default:
		return ok
	}
}

// unread is what vCenter tells of a configuration that it cannot read.
func unread(config types.VirtualMachineConfigSummary) types.VirtualMachineConfigSummary {
	return types.VirtualMachineConfigSummary{Name: config.Name, Template: config.Template, VmPathName: config.VmPathName}
}
