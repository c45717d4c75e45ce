// SPDX-License-Identifier: Apache-2.0

package contentlibrary_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/contentlibrary"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

const datastore = "datastore-1"

// empty has a datastore and no library.
func empty(ctx context.Context, b *vcentertest.Builder) error {
	if err := b.Datacenter(ctx, "DC0"); err != nil {
		return err
	}
	if err := b.Cluster(ctx, "cluster-a", "esx-a1.lab.pacific.test"); err != nil {
		return err
	}
	return b.Datastore(ctx, datastore)
}

// counting counts what is begun with a session.
type counting struct {
	*vcenter.RESTSession
	begun atomic.Int64
}

func (c *counting) Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error {
	c.begun.Add(1)
	return c.RESTSession.Do(ctx, operation, f)
}

// world is a catalogue over a running vCenter, and an administrator of that.
type world struct {
	t         *testing.T
	vcenter   *vcentertest.VCenter
	session   *counting
	catalogue *contentlibrary.Catalogue
	file      string // the credentials
	log       *waittest.Output
	handed    *handed
	stop      func()
}

// handed is what a Handler was told last.
type handed struct {
	mu    sync.Mutex
	last  []*facts.Library
	all   [][]*facts.Library
	times int
}

func (h *handed) SetLibraries(libraries []*facts.Library) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, h.all = libraries, append(h.all, libraries)
	h.times++
}

func (h *handed) now() []*facts.Library {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// history is all that it was told.
func (h *handed) history() [][]*facts.Library {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

const (
	account  = "dev-a@vsphere.local"
	interval = 10 * time.Millisecond
)

func newWorld(t *testing.T, build vcentertest.Inventory) *world {
	t.Helper()
	return newWorldOf(t, build, nil, func(*vcentertest.VCenter) {})
}

// newWorldOf is one in which libraries are given to somebody, and in which something happens before the first reading.
func newWorldOf(t *testing.T, build vcentertest.Inventory, given func(library string) bool,
	before func(*vcentertest.VCenter)) *world {
	t.Helper()
	w := &world{t: t, vcenter: vcentertest.Run(t, vcentertest.Options{Inventory: build}), log: &waittest.Output{},
		handed: &handed{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", w.log)
		}
	})
	before(w.vcenter)
	w.file = filepath.Join(t.TempDir(), "credentials.yaml")
	w.credentials(vcentertest.SamplePassword)
	session, err := vcenter.NewSession(vcenter.Config{URL: w.vcenter.URL(), CredentialsFile: w.file,
		CAFile:    w.vcenter.CAFile(t),
		KeepAlive: 50 * time.Millisecond, CallTimeout: time.Second, Logger: w.log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	w.session = &counting{RESTSession: &vcenter.RESTSession{Session: session}}
	w.catalogue = &contentlibrary.Catalogue{Session: w.session, Inventory: session, Handler: w.handed, Given: given, Interval: interval,
		Logger: w.log.Logger()}
	ctx, cancel := context.WithCancel(context.Background())
	var running, following sync.WaitGroup
	running.Go(func() { _ = session.Run(ctx) })
	following.Go(func() { _ = w.catalogue.Run(ctx) })
	w.stop = sync.OnceFunc(func() {
		cancel()
		following.Wait()
		w.session.Logout(ctx)
		running.Wait()
	})
	t.Cleanup(w.stop)
	return w
}

func (w *world) credentials(password string) {
	w.t.Helper()
	if err := os.WriteFile(w.file, []byte("username: "+account+"\npassword: "+password+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// shown is what a catalogue says.
type shown struct {
	Names  []string
	Images map[string][]string
}

func (w *world) shows(images ...string) shown {
	s := shown{Names: w.catalogue.Names(), Images: map[string][]string{}}
	for _, image := range images {
		for _, library := range w.catalogue.Libraries(image) {
			s.Images[image] = append(s.Images[image], library.Name)
		}
		if names := s.Images[image]; names != nil {
			s.Images[image] = slices.Compact(names)
		}
	}
	return s
}

// eventually waits until the catalogue says want of its images and of others.
func (w *world) eventually(what string, want shown, others ...string) {
	w.t.Helper()
	for image := range want.Images {
		others = append(others, image)
	}
	var diff string
	defer func() {
		if diff != "" {
			w.t.Logf("%s (-want +got):\n%s", what, diff)
		}
	}()
	waittest.Eventually(w.t, what, func() bool {
		diff = cmp.Diff(want, w.shows(others...))
		return diff == ""
	})
}

func (w *world) synced() {
	w.t.Helper()
	waittest.Eventually(w.t, "everything was read", w.catalogue.Synced)
}

func (w *world) logged(text string) bool { return strings.Contains(w.log.String(), text) }

// admin acts as the administrator.
func (w *world) admin(act func(context.Context, *vcentertest.Builder, *library.Manager) error) {
	w.t.Helper()
	b, err := w.vcenter.Builder(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer b.Close(w.t.Context())
	if err := b.In(w.t.Context(), "DC0"); err != nil {
		w.t.Fatal(err)
	}
	client := rest.NewClient(b.Client.Client)
	if err := client.Login(w.t.Context(), url.UserPassword(w.vcenter.Username(), w.vcenter.Password())); err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = client.Logout(w.t.Context()) }()
	if err := act(w.t.Context(), b, library.NewManager(client)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) library(name string, items ...vcentertest.LibraryItem) {
	w.t.Helper()
	w.admin(func(ctx context.Context, b *vcentertest.Builder, _ *library.Manager) error {
		return b.Library(ctx, name, datastore, items...)
	})
}

func ovf(name string) vcentertest.LibraryItem {
	return vcentertest.LibraryItem{Name: name, Type: library.ItemTypeOVF}
}

// image is the name in Kubernetes of a library's first item of that name.
func image(libraryName, item string) string {
	return facts.ImageName(vcentertest.LibraryItemID(libraryName, item))
}

func TestFollow(t *testing.T) {
	w := newWorld(t, empty)
	w.synced()

	w.library("Platform images", ovf("ubuntu-24.04"), vcentertest.LibraryItem{Name: "installer",
		Type: library.ItemTypeISO})
	ubuntu, photon := image("Platform images", "ubuntu-24.04"), image("Platform images", "photon-5")
	platform := []string{"Platform images"}
	w.eventually("a library", shown{Names: platform, Images: map[string][]string{
		"ubuntu-24.04": platform, ubuntu: platform, "installer": platform, image("Platform images", "installer"): platform,
	}}, "photon-5", photon)

	// What is no image, and what names itself like another image.
	w.admin(func(ctx context.Context, _ *vcentertest.Builder, m *library.Manager) error {
		found, err := m.GetLibraryByName(ctx, "Platform images")
		if err != nil {
			return err
		}
		for _, item := range []library.Item{
			{Name: "notes", Type: "file"}, {Name: photon, Type: library.ItemTypeOVF}, {Name: "photon-5", Type: "OVF"},
			{Name: "template", Type: library.ItemTypeVMTX},
		} {
			item.LibraryID = found.ID
			if _, err := m.CreateLibraryItem(ctx, item); err != nil {
				return err
			}
		}
		return nil
	})
	w.library("Team A images", ovf("photon-5"), ovf("postgres"))
	both, team := []string{"Platform images", "Team A images"}, []string{"Team A images"}
	w.eventually("two libraries with one display name", shown{Names: both, Images: map[string][]string{
		"ubuntu-24.04": platform, ubuntu: platform, "template": platform, "photon-5": both, photon: platform,
		image("Team A images", "photon-5"): team, "postgres": team,
	}}, "notes", "no such image", "")
	impostor := image("Team A images", "postgres")
	w.library("Impostors", ovf(impostor))
	three := []string{"Impostors", "Platform images", "Team A images"}
	w.eventually("an item named like another image", shown{Names: three, Images: map[string][]string{
		impostor: team, image("Impostors", impostor): {"Impostors"},
	}})

	// Renamed: the library at once, an item after some readings.
	w.admin(func(ctx context.Context, _ *vcentertest.Builder, m *library.Manager) error {
		for _, change := range [][2]string{{"Impostors", ""}, {"Team A images", "Team A"}} {
			found, err := m.GetLibraryByName(ctx, change[0])
			if err != nil {
				return err
			}
			if change[1] == "" {
				err = m.DeleteLibrary(ctx, found)
			} else {
				found.Name = change[1]
				err = m.UpdateLibrary(ctx, found)
			}
			if err != nil {
				return err
			}
		}
		item, err := m.GetLibraryItem(ctx, vcentertest.LibraryItemID("Team A images", "postgres"))
		if err != nil {
			return err
		}
		item.Name = "postgres-17"
		if err := m.UpdateLibraryItem(ctx, item); err != nil {
			return err
		}
		return m.DeleteLibraryItem(ctx, &library.Item{ID: vcentertest.LibraryItemID("Platform images", "ubuntu-24.04")})
	})
	renamed := []string{"Team A"}
	w.eventually("renamed and removed", shown{Names: []string{"Platform images", "Team A"}, Images: map[string][]string{
		"postgres-17": renamed, impostor: renamed, "photon-5": {"Platform images", "Team A"},
	}}, "postgres", "ubuntu-24.04", ubuntu, image("Impostors", impostor))
}

// Two libraries of one name are one to whoever goes by names.
func TestLibrariesOfOneName(t *testing.T) {
	w := newWorld(t, empty)
	w.library("images", ovf("photon-5"))
	w.library("images", ovf("photon-5"), ovf("ubuntu-24.04"))
	images := []string{"images"}
	w.eventually("one name", shown{Names: images, Images: map[string][]string{"photon-5": images, "ubuntu-24.04": images}})
}

func sampled(ctx context.Context, b *vcentertest.Builder) error {
	if err := empty(ctx, b); err != nil {
		return err
	}
	if err := b.Folder(ctx, "Templates"); err != nil {
		return err
	}
	return vcentertest.SampleLibraries(ctx, b, datastore)
}

var sampleImages = []string{"ubuntu-24.04", "photon-5", "debian-12-netinst", "postgres-17", "build-agent"}

func sample() shown {
	platform, team := []string{"Platform images"}, []string{"Team A images"}
	return shown{Names: []string{"Platform images", "Team A images"}, Images: map[string][]string{
		"ubuntu-24.04": platform, "photon-5": platform, "debian-12-netinst": platform, "postgres-17": team,
		"build-agent": team,
	}}
}

func TestVCenterAway(t *testing.T) {
	w := newWorld(t, sampled)
	w.eventually("the sample", sample())
	w.vcenter.Stop()
	waittest.Eventually(t, "it was noticed that vCenter is away",
		func() bool { return w.logged("what was read last stands") })
	if diff := cmp.Diff(sample(), w.shows(sampleImages...)); diff != "" {
		t.Errorf("while vCenter is away (-want +got):\n%s", diff)
	}
	if err := w.vcenter.Restart(); err != nil {
		t.Fatal(err)
	}
	w.library("New images", ovf("alpine-3"))
	want := sample()
	want.Names = []string{"New images", "Platform images", "Team A images"}
	want.Images["alpine-3"] = []string{"New images"}
	w.eventually("after the restart", want)
	waittest.Eventually(t, "it is said that vCenter is back",
		func() bool { return w.logged("Read the content libraries again") })
	w.stop()
	if n := w.vcenter.RESTSessions(); n != 0 {
		t.Errorf("%d REST sessions were left behind", n)
	}
}

// A reading that breaks off in the middle leaves what was read last.
func TestStaleBeatsPartial(t *testing.T) {
	w := newWorld(t, sampled)
	w.eventually("the sample", sample())
	w.vcenter.RefuseRESTOf(vcentertest.LibraryItemID("New images", "alpine-3"), http.StatusServiceUnavailable)
	w.library("New images", ovf("alpine-3"), ovf("alpine-4"))
	waittest.Eventually(t, "a reading failed", func() bool { return w.logged("answered 503") })
	if got := w.catalogue.Libraries("alpine-4"); got != nil {
		t.Errorf("a part of what a failed reading found is shown: %v", got)
	}
	if diff := cmp.Diff(sample().Images, w.shows(sampleImages...).Images); diff != "" {
		t.Errorf("while readings fail (-want +got):\n%s", diff)
	}
	// What the account may not read does not keep the rest from being read.
	w.vcenter.RefuseRESTOf(vcentertest.LibraryItemID("New images", "alpine-3"), http.StatusForbidden)
	want := sample()
	want.Names = []string{"New images", "Platform images", "Team A images"}
	want.Images["alpine-4"] = []string{"New images"}
	w.eventually("with a hidden item", want, "alpine-3")
}

func TestSessionEnded(t *testing.T) {
	w := newWorld(t, sampled)
	w.eventually("the sample", sample())
	w.vcenter.ResetLogins()
	w.vcenter.TerminateRESTSessions()
	w.library("New images", ovf("alpine-3"))
	want := sample()
	want.Names = []string{"New images", "Platform images", "Team A images"}
	want.Images["alpine-3"] = []string{"New images"}
	w.eventually("with a new login", want)
	// The administrator's are one over SOAP and two over REST.
	if diff := cmp.Diff(vcentertest.LoginCount{Accepted: 4}, w.vcenter.Logins()); diff != "" {
		t.Errorf("logins (-want +got):\n%s", diff)
	}
}

func TestWrongPassword(t *testing.T) {
	w := newWorld(t, sampled)
	w.eventually("the sample", sample())
	const changed = "n3w-p4ssword"
	if err := w.vcenter.Directory().SetPassword(account, changed); err != nil {
		t.Fatal(err)
	}
	w.vcenter.ResetLogins()
	w.vcenter.TerminateRESTSessions()
	waittest.Eventually(t, "the refusal was noticed",
		func() bool { return w.logged("REST endpoints refused the user name or password") })
	begun := w.session.begun.Load()
	waittest.Eventually(t, "it is tried again", func() bool { return w.session.begun.Load() >= begun+3 })
	if diff := cmp.Diff(vcentertest.LoginCount{Refused: 1}, w.vcenter.Logins()); diff != "" {
		t.Errorf("logins (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(sample(), w.shows(sampleImages...)); diff != "" {
		t.Errorf("without a login (-want +got):\n%s", diff)
	}
	w.credentials(changed)
	w.library("New images", ovf("alpine-3"))
	want := sample()
	want.Names = []string{"New images", "Platform images", "Team A images"}
	want.Images["alpine-3"] = []string{"New images"}
	w.eventually("with the new password", want)
	for _, secret := range []string{changed, vcentertest.SamplePassword, vcentertest.DefaultPassword} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("%q is logged:\n%s", secret, w.log)
		}
	}
}

// cost is how many calls there were of each method for each time that a library was asked for, over some readings.
func (w *world) cost(readings int) map[string]float64 {
	w.t.Helper()
	const each = "GET /com/vmware/content/library"
	before := w.vcenter.RESTCalls()
	var now map[string]int
	waittest.Eventually(w.t, "many readings", func() bool {
		now = w.vcenter.RESTCalls()
		return now[each+"/item"] >= before[each+"/item"]+readings
	})
	made := map[string]float64{}
	for call, n := range now {
		if n -= before[call]; n > 0 {
			made[strings.TrimPrefix(call, each)] = float64(n) / float64(now[each+"/item"]-before[each+"/item"])
		}
	}
	return made
}

// A reading asks for a library and its items' identifiers, and looks at each item if the library is given, else at a
// tenth. Contents are read once.
func TestCost(t *testing.T) {
	const items, readings = 10, 30
	for name, given := range map[string]bool{"given": true, "not given": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, empty, func(string) bool { return given }, func(*vcentertest.VCenter) {})
			made := []vcentertest.LibraryItem{ovf("image-0"), ovf("image-1")}
			for i := len(made); i < items; i++ {
				made = append(made, vcentertest.LibraryItem{Name: fmt.Sprintf("image-%d", i), Type: library.ItemTypeISO})
			}
			w.library("library", made...)
			waittest.Eventually(t, "all are read", func() bool {
				libraries := w.handed.now()
				return len(libraries) == 1 && len(libraries[0].Items) == items &&
					!slices.ContainsFunc(libraries[0].Items,
						func(i facts.Item) bool { return i.Version != "2" || i.Type == facts.ItemOVF && i.ImageVersion != "2" })
			})
			waittest.Eventually(t, "what was read while it was made is read anew", func() bool {
				_, again := w.cost(items)["/item/downloadsession/file"]
				return !again
			})
			want := map[string]float64{"/id": 1, "/item": 1, "/item/id": items}
			if !given {
				want["/item/id"] = items / 10
			}
			// Of what is under way at the begin and the end, a part is counted.
			about := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 0.15*max(a, b) })
			got := w.cost(readings)
			delete(got, "") // with an interval as short as this, the list comes more often than a library
			if diff := cmp.Diff(want, got, about); diff != "" {
				t.Errorf("calls for each reading (-want +got):\n%s", diff)
			}
		})
	}
}
