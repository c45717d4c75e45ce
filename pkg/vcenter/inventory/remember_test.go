// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestHiddenFromTheStart: a process that begins while the account may not see a machine does not take it for gone, if
// one before it knew it. What is gone, what lies elsewhere and what is shown are not for that.
func TestHiddenFromTheStart(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	before := startAs(t, v, nil)
	b := before.admin()
	web, db := before.find(b, "Namespaces/team-a/web-1").Reference(), before.find(b, "Namespaces/team-a/db-1").Reference()
	cache := before.find(b, "Namespaces/team-b/cache-1").Reference()
	home, _ := before.mirror.vm("web-1")["parent"].(types.ManagedObjectReference)
	before.role(b.NoAccess(t.Context(), "Namespaces/team-a/web-1", account))
	before.do(before.find(b, "Namespaces/team-a/db-1").Destroy(t.Context()))

	known := map[types.ManagedObjectReference]types.ManagedObjectReference{web: home, db: home, cache: home}
	f := startAs(t, v, func(c *inventory.Collector) {
		c.Remembered = func(context.Context, string) (map[types.ManagedObjectReference]types.ManagedObjectReference, error) {
			return known, nil
		}
	})
	f.mirror.mu.Lock()
	got, hidden := f.mirror.objects[web], f.mirror.hidden[web]
	_, destroyed := f.mirror.objects[db]
	f.mirror.mu.Unlock()
	if diff := cmp.Diff(map[string]any{"parent": home}, map[string]any(got)); diff != "" || !hidden {
		t.Errorf("what is kept from the account is hidden: %t (-want +got):\n%s", hidden, diff)
	}
	if destroyed || f.mirror.vm("cache-1")["parent"] == home {
		t.Errorf("what is gone is there: %t; what is shown lies in %v", destroyed, f.mirror.vm("cache-1")["parent"])
	}
	if counted := f.collector.Status().Hidden; !cmp.Equal(counted, map[string]int{"VirtualMachine": 1}) {
		t.Errorf("hidden are %v", counted)
	}
	machines := f.collector.Status().Objects["VirtualMachine"]
	f.role(b.Access(t.Context(), "Namespaces/team-a/web-1", account))
	waittest.Eventually(t, "it is shown again", func() bool { return f.mirror.vm("web-1") != nil })
	f.hides()
	if now := f.collector.Status().Objects["VirtualMachine"]; now != machines {
		t.Errorf("there are %d machines, and were %d with the hidden one", now, machines)
	}
}
