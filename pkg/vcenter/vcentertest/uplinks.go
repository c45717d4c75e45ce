// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// uplinks tags the port group of a distributed switch's uplinks, by which clients
// know that no machine may use it.
type uplinks struct{}

// Reference makes it a handler of the registry's.
func (uplinks) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Handler", Value: "vcentertest-uplinks"}
}

// PutObject sees a port group before anybody else does.
func (uplinks) PutObject(_ *simulator.Context, object mo.Reference) {
	if portgroup, ok := object.(*simulator.DistributedVirtualPortgroup); ok &&
		strings.Contains(portgroup.Name, "-DVUplinks") {
		portgroup.Tag = []types.Tag{{Key: "SYSTEM/DVS.UPLINKPG"}}
	}
}

// UpdateObject does nothing.
func (uplinks) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

// RemoveObject does nothing.
func (uplinks) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}
