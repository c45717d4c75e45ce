// SPDX-License-Identifier: Apache-2.0

package vcentertest

import "github.com/openpacific/pacific/pkg/vcenter/vcentertest/directory"

// SamplePassword is the password of every user of SampleUsers.
const SamplePassword = "Pacific-456"

// SampleUsers are the people to play with: dev-a is meant to edit team-a,
// owner-b to own team-b, viewer to see team-a through a group, and nobody to
// have no role anywhere. Their roles are not vCenter's: see the namespaces.
func SampleUsers() []directory.User {
	return []directory.User{
		{Name: "dev-a@vsphere.local", Password: SamplePassword, Groups: []string{"team-a-editors@vsphere.local"}},
		{Name: "owner-b@vsphere.local", Password: SamplePassword},
		{Name: "viewer@vsphere.local", Password: SamplePassword, Groups: []string{"team-a-viewers@vsphere.local"}},
		{Name: "nobody@vsphere.local", Password: SamplePassword},
	}
}

// SampleGroups are the groups of SampleUsers. The viewer is a member of
// auditors only through team-a-viewers.
func SampleGroups() []directory.Group {
	return []directory.Group{
		{Name: "team-a-editors@vsphere.local"},
		{Name: "team-a-viewers@vsphere.local", MemberOf: []string{"auditors@vsphere.local"}},
		{Name: "auditors@vsphere.local"},
	}
}
