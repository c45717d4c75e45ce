// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// extraConfig is why a machine cannot have keys and values, nil where it can. It takes out of the request what takes
// a key away that is not there: the simulator would add it, with no value.
func extraConfig(spec *types.VirtualMachineConfigSpec, present []types.BaseOptionValue) types.BaseMethodFault {
	sizes := map[string]int{}
	for _, option := range present {
		if o := option.GetOptionValue(); o != nil {
			sizes[o.Key] = len(text(o))
		}
	}
	spec.ExtraConfig = slices.DeleteFunc(spec.ExtraConfig, func(option types.BaseOptionValue) bool {
		o := option.GetOptionValue()
		if text(o) != "" || strings.HasPrefix(o.Key, "SET.") {
			return false
		}
		_, there := sizes[o.Key]
		o.Value = "" // the simulator keeps what is nil
		delete(sizes, o.Key)
		return !there
	})
	for _, option := range spec.ExtraConfig {
		o := option.GetOptionValue()
		if strings.HasPrefix(o.Key, "guestinfo.") && len(text(o)) > longestGuestInfo {
			return argument("extraConfig")
		}
		if text(o) != "" && !strings.HasPrefix(o.Key, "SET.") {
			sizes[o.Key] = len(text(o))
		}
	}
	total := 0
	for key, size := range sizes {
		total += len(key) + size
	}
	if total > largestConfig {
		return argument("extraConfig")
	}
	return nil
}

// text is the value of an option.
func text(o *types.OptionValue) string {
	switch value := o.Value.(type) {
	case nil:
		return ""
	case string:
		return value
	}
	return fmt.Sprint(o.Value)
}
