// SPDX-License-Identifier: Apache-2.0

package contentlibrary_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmware/govmomi/vapi/library"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// told is what the handler was told of a library.
func (w *world) told(name string) *facts.Library {
	for _, library := range w.handed.now() {
		if library.Name == name {
			return library
		}
	}
	return nil
}

// has waits until the handler was told something of a library.
func (w *world) has(name, what string, is func(*facts.Library) bool) *facts.Library {
	w.t.Helper()
	var last *facts.Library
	defer func() {
		if w.t.Failed() {
			w.t.Logf("%s is %+v", name, last)
		}
	}()
	waittest.Eventually(w.t, what, func() bool {
		last = w.told(name)
		return last != nil && is(last)
	})
	return last
}

// items is what the handler was told of a library in short: name, version, version that was read, problem.
func items(library *facts.Library) []string {
	short := []string{}
	if library == nil {
		return short
	}
	for _, item := range library.Items {
		short = append(short, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", item.Name, item.Version, item.ImageVersion,
			item.Problem)))
	}
	return short
}

func same(want ...string) func(*facts.Library) bool {
	return func(library *facts.Library) bool {
		return library.Problem == "" && cmp.Equal(want, items(library), cmpopts.EquateEmpty(),
			cmpopts.SortSlices(func(a, b string) bool { return a < b }))
	}
}

// What an item says of machines that are made of it is read from its descriptor.
func TestContents(t *testing.T) {
	w := newWorld(t, empty)
	w.library("images", vcentertest.LibraryItem{Name: "ubuntu", Type: library.ItemTypeOVF, OS: "ubuntu64Guest",
		Vendor: "Canonical", Product: "Ubuntu Server", Version: "24.04.3"})
	w.library("discs", vcentertest.LibraryItem{Name: "netinst", Type: library.ItemTypeISO})
	bus, unit := int32(0), int32(0)
	want := facts.Item{
		ID: vcentertest.LibraryItemID("images", "ubuntu"), Name: "ubuntu", Type: facts.ItemOVF, Version: "2",
		ImageVersion: "2",
		Image: &facts.Image{
			GuestID: "ubuntu64Guest", OS: 94, Firmware: "efi", HardwareVersion: 21,
			Product: facts.Product{Name: "Ubuntu Server", Vendor: "Canonical", Version: "24.04.3"},
			Properties: []facts.Property{
				{Key: "capabilities.image.vmoperator.vmware.com", Type: "string", Default: "cloud-init"},
				{Key: "vmware-system.compatibilityoffering.type", Type: "string", Default: "pacific-sample"},
				{Key: "hostname", Type: "string", Default: "localhost", UserConfigurable: true},
				{Key: "user-data", Type: "string", UserConfigurable: true},
			},
			Disks: []facts.ImageDisk{{Label: "Hard disk 1", Capacity: 20 << 30, File: "disk-0.vmdk",
				Controller: facts.ControllerSCSI, Bus: &bus, Unit: &unit}},
		},
	}
	images := w.has("images", "the descriptor was read", same("ubuntu 2 2"))
	folder := "/contentlib-" + images.ID + "/" + want.ID + "/"
	want.Files = map[string]facts.ItemFile{"disk-0.vmdk": {URL: folder + "disk-0.vmdk"},
		"ubuntu.ovf": {URL: folder + "ubuntu.ovf"}}
	onDatastore := cmp.Comparer(func(a, b string) bool {
		onAny := func(path, url string) bool {
			return strings.HasPrefix(path, folder) && strings.HasPrefix(url, "ds:///vmfs/volumes/") &&
				strings.HasSuffix(url, path)
		}
		return a == b || onAny(a, b) || onAny(b, a)
	})
	if diff := cmp.Diff(want, images.Items[0], onDatastore, cmpopts.IgnoreFields(facts.Item{}, "Created", "Modified"),
		cmpopts.IgnoreFields(facts.ItemFile{}, "Size")); diff != "" {
		t.Errorf("an OVF (-want +got):\n%s", diff)
	}
	if since := time.Since(images.Items[0].Created); since < 0 || since > time.Hour ||
		images.Items[0].Modified.Before(images.Items[0].Created) {
		t.Errorf("made %s, changed %s", images.Items[0].Created, images.Items[0].Modified)
	}
	discs := w.has("discs", "the other was read", same("netinst 2"))
	if got := discs.Items[0]; got.Type != facts.ItemISO || got.Image != nil || got.Files["netinst.iso"].URL == "" {
		t.Errorf("an ISO image: %+v", got)
	}

	w.admin(func(ctx context.Context, b *vcentertest.Builder, _ *library.Manager) error {
		return b.UpdateLibraryItem(ctx, "images", vcentertest.LibraryItem{Name: "ubuntu", Type: library.ItemTypeOVF,
			Version: "26.04"})
	})
	images = w.has("images", "new contents", same("ubuntu 3 3"))
	if got := images.Items[0].Image.Product.Version; got != "26.04" {
		t.Errorf("the new contents are of version %s", got)
	}
	w.admin(func(ctx context.Context, _ *vcentertest.Builder, m *library.Manager) error {
		return m.DeleteLibraryItem(ctx, &library.Item{ID: images.Items[0].ID})
	})
	w.has("images", "it is removed", same())
}

// A library that cannot be read keeps what was read, says so, and does not keep the others from being read.
func TestADeadLibraryDiesAlone(t *testing.T) {
	for name, status := range map[string]int{
		"unavailable": http.StatusServiceUnavailable, "hidden": http.StatusForbidden, "silent": vcentertest.Silence,
		"not found": http.StatusNotFound,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, empty)
			w.library("dead", ovf("image-1"))
			w.library("alive")
			dead := w.has("dead", "it was read", same("image-1 2 2"))
			w.has("alive", "the other was read", same())
			w.vcenter.RefuseRESTOf(dead.ID, status)
			told := w.has("dead", "it is said that it is dead", func(l *facts.Library) bool { return l.Problem != "" })
			if diff := cmp.Diff([]string{"image-1 2 2"}, items(told)); diff != "" {
				t.Errorf("what is left of it (-want +got):\n%s", diff)
			}
			if err := w.catalogue.Err(); (err == nil) != (status == http.StatusForbidden) {
				t.Errorf("what cannot be read now: %v", err)
			}
			w.library("new", ovf("image-2"))
			w.has("new", "others are read meanwhile", same("image-2 2 2"))
			if got := w.catalogue.Libraries("image-1"); !cmp.Equal([]facts.LibraryRef{{ID: dead.ID, Name: "dead"}}, got) {
				t.Errorf("its image lies in %v", got)
			}
			w.vcenter.RefuseRESTOf(dead.ID, 0)
			w.has("dead", "it is alive again", same("image-1 2 2"))
			if err := w.catalogue.Err(); err != nil {
				t.Errorf("everything can be read, and it is said: %v", err)
			}
		})
	}
}

// An item that vCenter does not find is kept as long as it is listed. For a while the library counts as one that cannot
// be read; when that lasts, the item alone does, and what is new in the library shows.
func TestAnItemThatIsNotFound(t *testing.T) {
	w := newWorld(t, empty)
	w.library("images", ovf("image-1"), ovf("image-2"))
	w.has("images", "it was read", same("image-1 2 2", "image-2 2 2"))
	item := vcentertest.LibraryItemID("images", "image-1")
	before := len(w.handed.history())
	w.vcenter.RefuseRESTOf(item, http.StatusNotFound)
	const lost = "image-1 2 2 vCenter lists the item and does not find it"
	w.has("images", "the others are read without it", same(lost, "image-2 2 2"))
	doubted := false
	for _, libraries := range w.handed.history()[before:] {
		for _, told := range libraries {
			doubted = doubted || strings.Contains(told.Problem, item)
			if len(told.Items) < 2 {
				t.Errorf("of an item that is listed, and is not found, was left: %q %v", told.Problem, items(told))
			}
		}
	}
	if !doubted {
		t.Error("nobody was told that the library could not be read")
	}
	w.admin(func(ctx context.Context, b *vcentertest.Builder, _ *library.Manager) error {
		return b.UpdateLibraryItem(ctx, "images", ovf("image-2"))
	})
	w.has("images", "another has new contents", same(lost, "image-2 3 3"))
	w.vcenter.RefuseRESTOf(item, 0)
	w.has("images", "it is found again", same("image-1 2 2", "image-2 3 3"))
}

// One that was never found keeps nobody from the others of its library.
func TestAnItemThatIsNeverFound(t *testing.T) {
	w := newWorldOf(t, func(ctx context.Context, b *vcentertest.Builder) error {
		if err := empty(ctx, b); err != nil {
			return err
		}
		return b.Library(ctx, "images", datastore, ovf("image-1"), ovf("image-2"))
	}, nil, func(v *vcentertest.VCenter) {
		v.RefuseRESTOf(vcentertest.LibraryItemID("images", "image-1"), http.StatusNotFound)
	})
	w.has("images", "the others were read", same("image-2 2 2"))
	w.synced()
	if err := w.catalogue.Err(); err != nil {
		t.Errorf("what cannot be read now: %v", err)
	}
	w.vcenter.RefuseRESTOf(vcentertest.LibraryItemID("images", "image-1"), 0)
	w.has("images", "it is found", same("image-1 2 2", "image-2 2 2"))
}

// A library that is dead from the start keeps nobody waiting, and nobody takes it for an empty one.
func TestDeadFromTheStart(t *testing.T) {
	item := vcentertest.LibraryItemID("dead", "image-2")
	w := newWorldOf(t, func(ctx context.Context, b *vcentertest.Builder) error {
		if err := empty(ctx, b); err != nil {
			return err
		}
		if err := b.Library(ctx, "alive", datastore, ovf("image-1")); err != nil {
			return err
		}
		return b.Library(ctx, "dead", datastore, ovf("image-2"))
	}, nil, func(v *vcentertest.VCenter) { v.RefuseRESTOf(item, http.StatusServiceUnavailable) })
	w.has("alive", "it was read", same("image-1 2 2"))
	// The first failure may be a hiccup: nobody is told before the second that there is nothing in it.
	if err := w.catalogue.Err(); err == nil || !strings.Contains(err.Error(), "dead") {
		t.Errorf("what cannot be read now: %v", err)
	}
	if w.catalogue.Synced() || w.told("dead") != nil {
		t.Errorf("everything was read, it is said: %+v", w.told("dead"))
	}
	w.vcenter.RefuseRESTOf(item, 0)
	w.has("dead", "it was read", same("image-2 2 2"))
	waittest.Eventually(t, "everything was read", w.catalogue.Synced)
}

// A library that is a copy of another one is not there before vCenter has copied it, and keeps what it had when that
// fails.
func TestNotYetSynchronised(t *testing.T) {
	w := newWorld(t, empty)
	w.library("copy", ovf("image-1"))
	w.has("copy", "it was read", same("image-1 2 2"))
	w.vcenter.ChangeLibrary("copy", func(l *library.Library) { l.Type = "SUBSCRIBED" })
	told := w.has("copy", "it is said that it was not synchronised",
		func(l *facts.Library) bool { return strings.Contains(l.Problem, "synchronised") })
	if diff := cmp.Diff([]string{"image-1 2 2"}, items(told)); diff != "" {
		t.Errorf("what is left of it (-want +got):\n%s", diff)
	}
	now := time.Now()
	w.vcenter.ChangeLibrary("copy", func(l *library.Library) { l.LastSyncTime = &now })
	w.has("copy", "it was synchronised", same("image-1 2 2"))
}

// A descriptor that cannot be used is not read again before there is another one; one that cannot be read now is.
func TestDescriptorsThatCannotBeRead(t *testing.T) {
	w := newWorld(t, empty)
	w.library("images", vcentertest.LibraryItem{Name: "broken", Type: library.ItemTypeOVF,
		Descriptor: "<Envelope><VirtualSystem>"}, ovf("whole"))
	broken := func(l *facts.Library) bool {
		return len(l.Items) == 2 && strings.Contains(strings.Join(items(l), ";"), "cannot be used") &&
			strings.Contains(strings.Join(items(l), ";"), "whole 2 2")
	}
	w.has("images", "one is broken", broken)
	const sessions = "POST /com/vmware/content/library/item/download-session"
	before := w.vcenter.RESTCalls()[sessions]
	w.cost(10)
	if again := w.vcenter.RESTCalls()[sessions] - before; again != 0 {
		t.Errorf("what cannot be used was read %d times again", again)
	}

	w.vcenter.RefuseRESTOf("download-session", http.StatusServiceUnavailable)
	w.admin(func(ctx context.Context, b *vcentertest.Builder, _ *library.Manager) error {
		return b.UpdateLibraryItem(ctx, "images", ovf("broken"))
	})
	w.has("images", "it cannot be read now", func(l *facts.Library) bool {
		return strings.Contains(strings.Join(items(l), ";"), "broken 3  vCenter's REST endpoints answered 503")
	})
	w.vcenter.RefuseRESTOf("download-session", 0)
	w.has("images", "it was read", same("broken 3 3", "whole 2 2"))
	if n := w.vcenter.DownloadSessions(); n != 0 {
		t.Errorf("%d download sessions are left", n)
	}
}

// What a parser has to say of a descriptor may be as long as that one: the problem is not.
func TestProblemsAreShort(t *testing.T) {
	w := newWorld(t, empty)
	broken := `<Envelope><VirtualSystem id="vm"><Info/><VirtualHardwareSection><Info/><Item><ElementName>` +
		strings.Repeat("ö", 100_000) + "</ElementName></Item></VirtualHardwareSection></VirtualSystem></Envelope>"
	w.library("images", vcentertest.LibraryItem{Name: "broken", Type: library.ItemTypeOVF, Descriptor: broken})
	told := w.has("images", "it is broken", func(l *facts.Library) bool {
		return len(l.Items) == 1 && strings.Contains(l.Items[0].Problem, "cannot be used")
	})
	if got := told.Items[0].Problem; len(got) > 512 || !utf8.ValidString(got) {
		t.Errorf("the problem has %d bytes: %.600q", len(got), got)
	}
}

// After a restore of vCenter, other contents may come under a version that was read before: as it is with contents that
// could be used, so with those that could not.
func TestAVersionThatComesAgain(t *testing.T) {
	w := newWorld(t, empty)
	id := vcentertest.LibraryItemID("images", "ubuntu")
	w.library("images", vcentertest.LibraryItem{Name: "ubuntu", Type: library.ItemTypeOVF, Version: "24.04"})
	restored := func(contents vcentertest.LibraryItem) {
		t.Helper()
		contents.Name, contents.Type = "ubuntu", library.ItemTypeOVF
		w.vcenter.RefuseRESTOf(id, http.StatusServiceUnavailable) // nobody sees the version in between
		w.admin(func(ctx context.Context, b *vcentertest.Builder, _ *library.Manager) error {
			return b.UpdateLibraryItem(ctx, "images", contents)
		})
		w.vcenter.ChangeLibraryItem(id, func(i *library.Item) { i.ContentVersion = "2" })
		w.vcenter.RefuseRESTOf(id, 0)
	}
	is := func(version string) func(*facts.Library) bool {
		return func(l *facts.Library) bool {
			return same("ubuntu 2 2")(l) && l.Items[0].Image.Product.Version == version
		}
	}
	w.has("images", "it was read", is("24.04"))
	restored(vcentertest.LibraryItem{Version: "26.04"})
	w.has("images", "other contents", is("26.04"))
	restored(vcentertest.LibraryItem{Descriptor: "<Envelope><VirtualSystem>"})
	w.has("images", "contents that cannot be used", func(l *facts.Library) bool {
		return len(l.Items) == 1 && strings.Contains(l.Items[0].Problem, "cannot be used")
	})
	restored(vcentertest.LibraryItem{Version: "28.04"})
	w.has("images", "contents that can", is("28.04"))
}
