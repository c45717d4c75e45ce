// SPDX-License-Identifier: Apache-2.0

package imagecache_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/imagecache"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	here, there  = "datastore-1", "datastore-2"
	installation = "5b0e52a8-9e55-4ed6-b0d7-3fb6e2f4a8a1"
	top          = "pacific-cache-" + installation
)

// lab is a vCenter with a library on one datastore, and a cache that keeps what is asked for on another.
type lab struct {
	t       *testing.T
	vcenter *vcentertest.VCenter
	writer  *vcenter.Writer
	finder  *find.Finder
	clock   *clocktesting.FakeClock
	stores  []facts.Datastore
	cache   *imagecache.Cache
	origin  facts.Origin

	mu       sync.Mutex
	contents []facts.Contents // of all items
	unknown  bool             // it is not known which items there are
	changed  bool             // the item has other contents
}

func newLab(t *testing.T) *lab {
	t.Helper()
	v := vcentertest.Run(t, vcentertest.Options{Inventory: func(ctx context.Context, b *vcentertest.Builder) error {
		if err := vcentertest.Small(ctx, b); err != nil {
			return err
		}
		if err := b.Datastore(ctx, there); err != nil {
			return err
		}
		return b.Library(ctx, "images", here, vcentertest.LibraryItem{Name: "ubuntu", Type: library.ItemTypeOVF})
	}})
	session, err := vcenter.NewSession(vcenter.Config{
		URL: v.URL(), CredentialsFile: v.CredentialsFile(t), CAFile: v.CAFile(t), Logger: klog.Background(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- session.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	client, err := v.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, vcenter: v, finder: find.NewFinder(client.Client), clock: clocktesting.NewFakeClock(time.Now()),
		writer: &vcenter.Writer{Session: session, Reign: vcentertest.Reign{}, Following: vcentertest.Following}}
	datacenter, err := l.finder.Datacenter(t.Context(), "DC0")
	if err != nil {
		t.Fatal(err)
	}
	l.finder.SetDatacenter(datacenter)
	for _, name := range []string{here, there} {
		found, err := l.finder.Datastore(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		ref := found.Reference()
		l.stores = append(l.stores, facts.Datastore{Name: name, ID: facts.ID{
			VCenter: client.ServiceContent.About.InstanceUuid, Type: ref.Type, Value: ref.Value}})
	}
	l.origin = facts.Origin{Name: "disk-0.vmdk", Contents: facts.Contents{
		Item: vcentertest.LibraryItemID("images", "ubuntu"), Version: "2", Modified: time.Unix(1_800_000_000, 5).UTC()}}
	for _, file := range l.files(here) {
		if strings.HasSuffix(file, "/disk-0.vmdk") && strings.HasPrefix(file, "contentlib-") {
			l.origin.File = "[" + here + "] " + file
		}
	}
	l.contents = []facts.Contents{l.origin.Contents}
	l.cache = l.anew()
	return l
}

// anew is the cache of another process.
func (l *lab) anew() *imagecache.Cache {
	return &imagecache.Cache{Writer: l.writer, Installation: installation, Stores: l, Items: l, Logger: klog.Background(),
		Clock: l.clock}
}

func (l *lab) Store(name string) (facts.Datastore, bool) {
	for _, store := range l.stores {
		if store.Name == name {
			return store, true
		}
	}
	return facts.Datastore{}, false
}

func (l *lab) Stores() []facts.Datastore { return l.stores }

func (l *lab) Confirm(_ context.Context, contents facts.Contents) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed {
		return failure.Conflict
	}
	return nil
}

func (l *lab) Contents() ([]facts.Contents, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.contents, !l.unknown
}

func (l *lab) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// files are those of a datastore.
func (l *lab) files(name string) (files []string) {
	l.t.Helper()
	store, err := l.finder.Datastore(l.t.Context(), name)
	if err != nil {
		l.t.Fatal(err)
	}
	browser, err := store.Browser(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	task, err := browser.SearchDatastoreSubFolders(l.t.Context(), store.Path(""),
		&types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*"}})
	if err != nil {
		l.t.Fatal(err)
	}
	info, err := task.WaitForResult(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, folder := range info.Result.(types.ArrayOfHostDatastoreBrowserSearchResults).HostDatastoreBrowserSearchResults {
		_, path, _ := strings.Cut(folder.FolderPath, "]")
		for _, file := range folder.File {
			files = append(files, strings.Trim(strings.Trim(path, " /")+"/"+file.GetFileInfo().Path, "/"))
		}
	}
	slices.Sort(files)
	return files
}

// kept are the names of what is kept, without what tells attempts apart, and how many of them are whole.
func (l *lab) kept() (disks, whole int) {
	l.t.Helper()
	for _, file := range l.files(there) {
		switch {
		case !strings.Contains(file, "_2_") && !strings.Contains(file, "_3_"):
		case strings.HasSuffix(file, ".whole"):
			whole++
		case strings.HasSuffix(file, ".vmdk") && !strings.HasSuffix(file, "-flat.vmdk"):
			disks++
		}
	}
	return disks, whole
}

func (l *lab) has(disks, whole int, when string) {
	l.t.Helper()
	if gotDisks, gotWhole := l.kept(); gotDisks != disks || gotWhole != whole {
		l.t.Errorf("%s %d disks are kept, %d whole, want %d and %d: %v", when, gotDisks, gotWhole, disks, whole, l.files(there))
	}
}

func (l *lab) keep(cache *imagecache.Cache) string {
	l.t.Helper()
	file, release, err := cache.Keep(l.t.Context(), there, l.origin, func(int32) {})
	if err != nil {
		l.t.Fatal(err)
	}
	release()
	return file
}

func (l *lab) sweep(cache *imagecache.Cache) {
	l.t.Helper()
	if err := cache.Sweep(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// swept sweeps twice, with the time between in which what is to go is left.
func (l *lab) swept(cache *imagecache.Cache) {
	l.t.Helper()
	l.sweep(cache)
	l.clock.Step(2 * time.Hour)
	l.sweep(cache)
}

// TestKeep: what is asked for is copied once, by whichever process, and lies where its path says whose it is and of
// what.
func TestKeep(t *testing.T) {
	l := newLab(t)
	recording := l.vcenter.Record()
	file := l.keep(l.cache)
	recording.Stop()
	want := "[" + there + "] " + top + "/" + l.origin.Item + "_2_20270115T080000.000000005Z/"
	if !strings.HasPrefix(file, want) {
		t.Errorf("it is kept at %s, want in %s", file, want)
	}
	if got := recording.Counts()["CopyVirtualDisk_Task"]; got != 1 {
		t.Errorf("it was copied %d times", got)
	}
	l.has(1, 1, "at first")
	again := l.vcenter.Record()
	if other := l.keep(l.cache); other != file {
		t.Errorf("the next one gets %s", other)
	}
	again.Stop()
	if diff := cmp.Diff(map[string]int{}, again.Counts()); diff != "" {
		t.Errorf("what is known to be there costs calls (-want +got):\n%s", diff)
	}
	if other := l.keep(l.anew()); other != file {
		t.Errorf("another process gets %s", other)
	}
	l.has(1, 1, "after all")
	if _, _, err := l.cache.Keep(t.Context(), "elsewhere", l.origin, func(int32) {}); !errors.Is(err, failure.NotFound) {
		t.Errorf("on a datastore that is not there: %v", err)
	}
}

// TestKeepAtOnce: those who ask at once wait for one copy, and all are told how far it is. It goes on when the first
// gives up.
func TestKeepAtOnce(t *testing.T) {
	l := newLab(t)
	l.vcenter.AddFault(vcentertest.Fault{Method: "CopyVirtualDisk_Task", Shape: fault.Slow, Delay: 2 * time.Second, Count: 1})
	first, give := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	begun := make(chan struct{})
	var once sync.Once
	recording := l.vcenter.Record()
	go func() {
		_, _, err := l.cache.Keep(first, there, l.origin, func(int32) { once.Do(func() { close(begun) }) })
		gaveUp <- err
	}()
	<-begun
	type came struct {
		file string
		told bool
	}
	all := make(chan came, 5)
	var joined sync.WaitGroup
	joined.Add(cap(all))
	for range cap(all) {
		go func() {
			told := false
			tell := sync.OnceFunc(joined.Done)
			file, _, err := l.cache.Keep(t.Context(), there, l.origin, func(int32) {
				told = true
				tell()
			})
			if err != nil {
				t.Error(err)
			}
			all <- came{file, told}
		}()
	}
	joined.Wait()
	give()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	var file string
	for range cap(all) {
		got := <-all
		if file == "" {
			file = got.file
		}
		if got.file != file || !got.told {
			t.Errorf("got %+v, want %s", got, file)
		}
	}
	recording.Stop()
	if got := recording.Counts()["CopyVirtualDisk_Task"]; got != 1 {
		t.Errorf("it was copied %d times", got)
	}
	l.has(1, 1, "after all")
}

// TestGivenUp: what nobody waits for is canceled and leaves nothing.
func TestGivenUp(t *testing.T) {
	l := newLab(t)
	l.vcenter.AddFault(vcentertest.Fault{Method: "CopyVirtualDisk_Task", Shape: fault.Slow, Delay: 20 * time.Second, Count: 1})
	ctx, give := context.WithCancel(t.Context())
	_, _, err := l.cache.Keep(ctx, there, l.origin, func(int32) { give() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	waittest.Eventually(t, "nothing is left of it", func() bool {
		return !slices.ContainsFunc(l.files(there), func(file string) bool { return strings.Contains(file, ".vmdk") })
	})
	l.keep(l.cache)
	l.has(1, 1, "then")
}

// TestKeepFails: whatever goes wrong on the way, nothing half is taken for whole, the next try gets there, and what was
// left is swept away.
func TestKeepFails(t *testing.T) {
	for name, test := range map[string]struct {
		fault vcentertest.Fault
		is    failure.Kind
		left  int // disks that are left until they are swept away
	}{
		"no room":                {vcentertest.Fault{Method: "CopyVirtualDisk_Task", Shape: fault.TaskFailsHalfway, Fault: &types.NoDiskSpace{Datastore: there}}, failure.ResourceExhausted, 0},
		"it fails":               {vcentertest.Fault{Method: "CopyVirtualDisk_Task", Shape: fault.TaskFails}, "", 0},
		"the answer is lost":     {vcentertest.Fault{Method: "CopyVirtualDisk_Task", Shape: fault.AnswerLost}, failure.Unavailable, 0},
		"no directory":           {vcentertest.Fault{Method: "MakeDirectory", Nth: 2}, "", 0},
		"no marker":              {vcentertest.Fault{Method: "MakeDirectory", Nth: 3}, "", 1},
		"the marker's is lost":   {vcentertest.Fault{Method: "MakeDirectory", Nth: 3, Shape: fault.AnswerLost}, failure.Unavailable, 0},
		"it cannot look":         {vcentertest.Fault{Method: "SearchDatastore_Task", Shape: fault.TaskFails}, "", 0},
		"the session ends there": {vcentertest.Fault{Method: "CopyVirtualDisk_Task", Shape: fault.SessionEnds}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			test.fault.Count = 1
			l.vcenter.AddFault(test.fault)
			_, release, err := l.cache.Keep(t.Context(), there, l.origin, func(int32) {})
			switch {
			case err == nil:
				release()
			case test.is != "" && !errors.Is(err, test.is):
				t.Errorf("got %v, want %s", err, test.is)
			}
			l.vcenter.ClearFaults()
			// It makes no difference which process comes next.
			l.cache = l.anew()
			l.keep(l.cache)
			l.has(1+test.left, 1, "with the next try")
			l.swept(l.cache)
			l.has(1, 1, "when it was swept")
			for _, file := range l.files(there) {
				if strings.HasSuffix(file, "-flat.vmdk") && !slices.Contains(l.files(there), strings.TrimSuffix(file, "-flat.vmdk")+".vmdk") {
					t.Errorf("there is left %s", file)
				}
			}
		})
	}
}

// TestReplacedMeanwhile: what was copied while the item got other contents is nobody's.
func TestReplacedMeanwhile(t *testing.T) {
	l := newLab(t)
	l.set(func() { l.changed = true })
	if _, _, err := l.cache.Keep(t.Context(), there, l.origin, func(int32) {}); !errors.Is(err, failure.Conflict) {
		t.Errorf("got %v", err)
	}
	l.has(0, 0, "then")
}

// TestDoubt: a copy that is gone is made anew.
func TestDoubt(t *testing.T) {
	l := newLab(t)
	file := l.keep(l.cache)
	datacenter, err := l.finder.Datacenter(t.Context(), "DC0")
	if err != nil {
		t.Fatal(err)
	}
	l.do(object.NewVirtualDiskManager(datacenter.Client()).DeleteVirtualDisk(t.Context(), file, datacenter))
	l.cache.Doubt(file)
	if other := l.keep(l.cache); other == file {
		t.Errorf("it is still %s", other)
	}
	l.swept(l.cache)
	l.has(1, 1, "when what was left was swept")
}

func (l *lab) do(task *object.Task, err error) {
	l.t.Helper()
	if err == nil {
		err = task.WaitEx(l.t.Context())
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// TestVSAN: at the top of a vSAN another manager makes directories, and names them otherwise.
func TestVSAN(t *testing.T) {
	l := newLab(t)
	l.vcenter.TurnIntoVSAN(there)
	file := l.keep(l.cache)
	if strings.Contains(file, top) || l.keep(l.anew()) != file {
		t.Errorf("it is kept at %s, and another process finds %s", file, l.keep(l.anew()))
	}
	if disks, whole := l.kept(); disks != 1 || whole != 1 {
		t.Errorf("%d disks are kept, %d whole: %v", disks, whole, l.files(there))
	}
	l.set(func() { l.contents = nil })
	l.swept(l.cache)
	if disks, whole := l.kept(); disks != 0 || whole != 0 {
		t.Errorf("%d disks are left, %d whole: %v", disks, whole, l.files(there))
	}
}
