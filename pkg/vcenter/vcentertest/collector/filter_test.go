// SPDX-License-Identifier: Apache-2.0

package collector

import "testing"

func TestValidPath(t *testing.T) {
	tests := []struct {
		kind, path string
		want       bool
	}{
		{"VirtualMachine", "name", true},
		{"VirtualMachine", "runtime.powerState", true},
		{"VirtualMachine", "config.hardware.device", true},
		{"VirtualMachine", `config.extraConfig["guestinfo.a.b"]`, true},
		{"VirtualMachine", "config.nosuch", false},
		{"VirtualMachine", "config.", false},
		{"VirtualMachine", "ManagedEntity", false},
		{"ResourcePool", "config.cpuAllocation.limit", true},
		{"ResourcePool", "runtime.powerState", false},
		{"Task", "info.nosuch", true}, // not an entity: nobody knows its paths
	}
	for _, test := range tests {
		if got := validPath(test.kind, test.path); got != test.want {
			t.Errorf("validPath(%q, %q) = %v, want %v", test.kind, test.path, got, test.want)
		}
	}
}
