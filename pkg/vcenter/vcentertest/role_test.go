// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
)

// TestTakeRole takes the administrator's own role, who then cannot give it back, and vCenter can.
func TestTakeRole(t *testing.T) {
	v := Run(t, Options{})
	ctx := context.Background()
	i := inventoryOf(t, v)
	teamA, web := i.folder(namespaces+"/team-a"), i.vm("web-1")
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "name")
	s.start("enter VirtualMachine name=cache-1", "enter VirtualMachine name=db-1", "enter VirtualMachine name=web-1")

	for _, bad := range []string{"team-z", "Namespaces/web-1", "/team-a"} {
		if err := v.TakeRole(bad, v.Username()); err == nil {
			t.Errorf("a role is taken on %q", bad)
		}
	}
	if err := v.TakeRole("Namespaces/team-a", v.Username()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"leave VirtualMachine", "leave VirtualMachine"}, s.until("leave")); diff != "" {
		t.Errorf("without the role (-want +got):\n%s", diff)
	}
	_, err := i.try(web.PowerOff(ctx))
	refused[*types.NoPermission](t, err)
	_, err = i.try(teamA.Rename(ctx, "mine"))
	refused[*types.NoPermission](t, err)
	if found, err := i.finder.FolderList(ctx, namespaces+"/*"); err != nil || len(found) != 1 {
		t.Errorf("folders that are found: %v, %v", found, err)
	}

	if err := v.GiveRole("/DC0/vm/Namespaces/team-a", v.Username()); err != nil {
		t.Fatal(err)
	}
	s.until("enter VirtualMachine name=web-1", "enter VirtualMachine name=db-1")
	i.do(web.PowerOff(ctx))
}
