// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// account is whom the collector of these tests is logged in as, so that roles can
// be taken from it.
const account = "dev-a@vsphere.local"

// skipped is a clock that can be put forward.
type skipped struct {
	clock.RealClock
	by atomic.Int64
}

func (c *skipped) Now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

func (c *skipped) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// startAs follows the inventory with the account.
func startAs(t *testing.T, v *vcentertest.VCenter, change func(*inventory.Collector)) *fixture {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials.yaml")
	content := "username: " + strconv.Quote(account) + "\npassword: " + strconv.Quote(vcentertest.SamplePassword) + "\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f := startAt(t, v, vcenter.Config{CredentialsFile: file}, func(c *inventory.Collector) {
		c.MaxWait = time.Second
		if change != nil {
			change(c)
		}
	})
	f.synced()
	f.mirror.forget()
	return f
}

func (f *fixture) role(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) hides(names ...string) {
	f.Helper()
	waittest.Eventually(f.T, "hidden: "+strings.Join(names, " "), func() bool { return cmp.Equal(f.mirror.kept(), names) })
}

func (f *fixture) nothingRemoved() {
	f.Helper()
	if _, removed := f.mirror.counted(); len(removed) > 0 {
		f.Fatalf("removed %v, which vCenter did not say", removed)
	}
}

// following waits until the status says that the inventory is followed, or not.
func (f *fixture) following(want bool) {
	f.Helper()
	waittest.Eventually(f.T, "followed: "+strconv.FormatBool(want),
		func() bool { return (f.collector.Status().Err == nil) == want })
}

func TestRoleOnTheNamespacesFolderIsTakenAway(t *testing.T) {
	f := startAs(t, vcentertest.Run(t, vcentertest.Options{}), nil)
	b := f.admin()
	f.role(b.NoAccess(t.Context(), "Namespaces", account))
	f.following(false)
	f.nothingRemoved()
	if f.mirror.vm("web-1") == nil {
		t.Error("the machines are gone with the role")
	}
	f.do(f.find(b, "Namespaces/team-a/db-1").Destroy(t.Context()))
	f.role(b.Access(t.Context(), "Namespaces", account))
	f.following(true)
	waittest.Eventually(t, "what was destroyed is gone", func() bool { return f.mirror.vm("db-1") == nil })
	f.hides()
	if _, removed := f.mirror.counted(); len(removed) != 1 {
		t.Errorf("removed %v, want db-1 alone", removed)
	}
}

func TestRoleOnOneNamespaceIsTakenAway(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	f := startAs(t, v, nil)
	b := f.admin()
	f.role(b.NoAccess(t.Context(), "Namespaces/team-a", account))
	f.hides("db-1", "team-a", "web-1")
	if diff := cmp.Diff(map[string]int{"Folder": 1, "VirtualMachine": 2}, f.collector.Status().Hidden); diff != "" {
		t.Errorf("Status().Hidden (-want +got):\n%s", diff)
	}
	// Others are followed as before.
	cache := f.find(b, "Namespaces/team-b/cache-1")
	f.do(cache.Reconfigure(t.Context(), extraConfig("seen")))
	waittest.Eventually(t, "a change elsewhere", func() bool { return f.mirror.vm("cache-1")[metadataPath] != nil })
	f.following(true)

	// What is read by itself is no other, nor what is read anew.
	if err := f.collector.Refresh(t.Context(), f.find(b, "Namespaces/team-a/web-1").Reference()); err == nil {
		t.Error("Refresh() of what is kept from the account = nil")
	}
	f.role(v.Restart())
	f.following(false)
	f.following(true)
	f.hides("db-1", "team-a", "web-1")
	f.nothingRemoved()

	b = f.admin()
	f.do(f.find(b, "Namespaces/team-a/db-1").Destroy(t.Context()))
	f.do(f.find(b, "Namespaces/team-a/web-1").Reconfigure(t.Context(), extraConfig("unseen")))
	f.role(b.Access(t.Context(), "Namespaces/team-a", account))
	waittest.Eventually(t, "all is seen again", func() bool {
		return f.mirror.vm("db-1") == nil && f.mirror.vm("web-1")[metadataPath] != nil
	})
	f.hides()
	if hidden := f.collector.Status().Hidden; len(hidden) > 0 {
		t.Errorf("Status().Hidden = %v", hidden)
	}
	if _, removed := f.mirror.counted(); len(removed) != 1 {
		t.Errorf("removed %v, want db-1 alone", removed)
	}
}

func TestRolesAreTakenAwayFromTheLeavesOn(t *testing.T) {
	f := startAs(t, vcentertest.Run(t, vcentertest.Options{}), nil)
	b := f.admin()
	f.role(b.NoAccess(t.Context(), "Namespaces/team-a/web-1", account))
	f.hides("web-1")
	f.role(b.NoAccess(t.Context(), "Namespaces/team-a", account))
	f.hides("db-1", "team-a", "web-1")
	f.role(b.NoAccess(t.Context(), "Namespaces", account))
	f.following(false)
	f.nothingRemoved()
}

func TestHiddenMachineIsDestroyed(t *testing.T) {
	clock := &skipped{}
	f := startAs(t, vcentertest.Run(t, vcentertest.Options{}), func(c *inventory.Collector) { c.Clock = clock })
	b := f.admin()
	db := f.find(b, "Namespaces/team-a/db-1")
	f.role(b.NoAccess(t.Context(), "Namespaces/team-a/web-1", account))
	f.role(b.NoAccess(t.Context(), "Namespaces/team-a/db-1", account))
	f.hides("db-1", "web-1")
	f.do(db.Destroy(t.Context()))
	clock.by.Add(int64(time.Minute))
	f.hides("web-1")
	want := map[types.ManagedObjectReference]int{db.Reference(): 1}
	if _, removed := f.mirror.counted(); !cmp.Equal(removed, want) {
		t.Errorf("removed %v, want %v", removed, want)
	}
}
