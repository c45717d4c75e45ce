// SPDX-License-Identifier: Apache-2.0

package virtualmachineimage_test

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineimage"
)

// screen notes what is shown of a kind, and in which order.
type screen[T any] struct {
	all    bool
	shown  map[string]*T // by namespace/name
	events []string
}

func (s *screen[T]) Replace(objects iter.Seq[*T]) {
	s.all, s.shown = true, map[string]*T{}
	for object := range objects {
		accessor := any(object).(metav1.Object)
		s.shown[accessor.GetNamespace()+"/"+accessor.GetName()] = object
	}
}

func (s *screen[T]) Apply(changes []projected.Change[T]) {
	for _, change := range changes {
		key := change.Namespace + "/" + change.Name
		if change.Object == nil {
			delete(s.shown, key)
			s.events = append(s.events, "hide "+key)
			continue
		}
		s.shown[key] = change.Object
		s.events = append(s.events, "show "+key)
	}
}

// news are the events since it was asked last, sorted.
func (s *screen[T]) news() []string {
	defer func() { s.events = nil }()
	slices.Sort(s.events)
	return s.events
}

type world struct {
	*virtualmachineimage.Projection
	clock  *testingclock.FakePassiveClock
	images screen[v1alpha5.VirtualMachineImage]
	all    screen[v1alpha5.ClusterVirtualMachineImage]
}

func newWorld(everywhere ...string) *world {
	w := &world{clock: testingclock.NewFakePassiveClock(time.Unix(1_800_000_000, 0))}
	w.Projection = &virtualmachineimage.Projection{Everywhere: everywhere, Clock: w.clock}
	w.Images().Attach(&w.images)
	w.ClusterImages().Attach(&w.all)
	return w
}

var made = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	first  = "e1968c25-dd84-4506-8dc7-9beacb6b688e" // as in vm-operator's documentation
	second = "6b8f8a5e-0d6c-4c1f-9a3e-2b7d5f104c88"
	one    = "vmi-0a0044d7c690bcbea"
	two    = "vmi-39832c25ff7e2b10e"
)

func item(id, name string) facts.Item {
	return facts.Item{ID: id, Name: name, Type: facts.ItemISO, Created: made, Modified: made.Add(time.Hour), Version: "2"}
}

func library(name string, items ...facts.Item) *facts.Library {
	return &facts.Library{ID: idOf(name), Name: name, Items: items}
}

func idOf(library string) string { return "0d6c4c1f-" + library }

func vns(name, uid string, libraries ...string) *vspherev1.Namespace {
	namespace := &vspherev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid)},
		Spec:       vspherev1.NamespaceSpec{ContentLibraries: libraries},
	}
	for _, library := range libraries {
		namespace.Status.ContentLibraries = append(namespace.Status.ContentLibraries,
			vspherev1.NamespaceContentLibrary{Name: library, ID: idOf(library)})
	}
	return namespace
}

func (w *world) namespaces(all ...*vspherev1.Namespace) {
	w.Replace(slices.Values(all))
}

func (w *world) changed(namespace *vspherev1.Namespace) {
	w.Apply([]projected.Change[vspherev1.Namespace]{{Name: namespace.Name, Object: namespace}})
}

func expect(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// Images show where their library is given, as soon as it is, and nowhere else.
func TestImagesShowWhereTheyAreGiven(t *testing.T) {
	w := newWorld("everybody's")
	ours, theirs := library("ours", item(first, "a")), library("everybody's", item(second, "b"))
	w.SetLibraries([]*facts.Library{ours, theirs})
	if w.images.all || w.all.all {
		t.Error("images show before it is known to whom they are given")
	}
	w.namespaces(vns("team-a", "1", "ours", "there is no such library"), vns("team-b", "2"))
	if !w.images.all || !w.all.all || len(w.images.shown) != 1 || w.images.shown["team-a/"+one] == nil ||
		len(w.all.shown) != 1 || w.all.shown["/"+two] == nil {
		t.Errorf("images %v and %v", w.images.shown, w.all.shown)
	}
	for name, want := range map[string]bool{"ours": true, "everybody's": true, "another": false} {
		if got := w.Given(name); got != want {
			t.Errorf("%s is given: %t", name, got)
		}
	}

	w.changed(vns("team-b", "2", "everybody's", "ours"))
	expect(t, "given", []string{"show team-b/" + one, "show team-b/" + two}, w.images.news())
	w.changed(vns("team-b", "2", "everybody's"))
	expect(t, "given no longer", []string{"hide team-b/" + one}, w.images.news())
	w.changed(vns("team-b", "2", "everybody's"))
	w.SetLibraries([]*facts.Library{ours, theirs})
	expect(t, "nothing is different", nil, w.images.news())

	ours = library("ours", item(first, "a"), item(second, "b"))
	w.SetLibraries([]*facts.Library{ours})
	expect(t, "moved to another library", []string{"hide team-b/" + two, "show team-a/" + two}, w.images.news())
	expect(t, "of all", []string{"hide /" + two}, w.all.news())

	// Another vSphere Namespace of the name has other images.
	before := w.images.shown["team-a/"+one].UID
	w.changed(vns("team-a", "3", "ours"))
	expect(t, "made anew", []string{"show team-a/" + one, "show team-a/" + two}, w.images.news())
	if after := w.images.shown["team-a/"+one].UID; before == after {
		t.Error("the images of another vSphere Namespace have the same uids")
	}
	w.namespaces(vns("team-b", "2", "everybody's"))
	expect(t, "gone", []string{"hide team-a/" + one, "hide team-a/" + two}, w.images.news())
	w.Apply([]projected.Change[vspherev1.Namespace]{{Name: "team-b"}})
	if len(w.images.shown) != 0 || w.Given("everybody's") != true || w.Given("ours") {
		t.Errorf("left: %v", w.images.shown)
	}
}

// An image says of itself what its descriptor says, as vm-operator has it.
func TestWhatAnImageSays(t *testing.T) {
	bus, unit, hardware := int32(0), int32(1), int32(21)
	described := item(first, "Ubuntu 24.04")
	described.Type, described.ImageVersion = facts.ItemOVF, "2"
	described.Image = &facts.Image{
		GuestID: "ubuntu64Guest", OS: 94, OSVersion: "24.04", Firmware: "efi", HardwareVersion: 21,
		Product: facts.Product{Name: "Ubuntu Server", Vendor: "Canonical", Version: "24.04", FullVersion: "24.04.3 LTS"},
		Properties: []facts.Property{
			{Key: "capabilities.image.vmoperator.vmware.com", Type: "string",
				Default: "cloud-init, nvidia-gpu,cloud-init,not a label!"},
			{Key: "vmware-system.tkr.os-type", Type: "string", Default: "linux", UserConfigurable: true},
			{Key: "hostname", Type: "string", Default: "ubuntu", UserConfigurable: true},
			{Key: "user-data", Type: "string", UserConfigurable: true},
			{Key: "internal", Type: "string", Default: "x"},
		},
		Disks: []facts.ImageDisk{
			{Label: "Hard disk 1", Capacity: 20 << 30, Controller: facts.ControllerSCSI, Bus: &bus, Unit: &unit},
			{Label: "Hard disk 1", Capacity: 1 << 30},
		},
		Extra: map[string]string{"vmservice.vmi.labels": "tier:gold,plain,not a key!:x,long:" + strings.Repeat("x", 64),
			"guestinfo.vmservice.defer-cloud-init": "ready"},
	}
	w := newWorld("images")
	w.namespaces(vns("team-a", "1", "images"))
	w.SetLibraries([]*facts.Library{library("images", described)})

	size := func(text string) *resource.Quantity { q := resource.MustParse(text); return &q }
	text := "ubuntu"
	want := v1alpha5.VirtualMachineImage{
		ObjectMeta: metav1.ObjectMeta{
			Name: one, Namespace: "team-a", Generation: 1, CreationTimestamp: metav1.NewTime(made),
			Labels: map[string]string{
				"image.vmoperator.vmware.com/type": "OVF", "os.image.vmoperator.vmware.com/id": "94",
				"os.image.vmoperator.vmware.com/type":    "ubuntu64Guest",
				"os.image.vmoperator.vmware.com/version": "24.04", "capability.image.vmoperator.vmware.com/cloud-init": "true",
				"capability.image.vmoperator.vmware.com/nvidia-gpu": "true", "tier": "gold", "plain": "",
			},
			Annotations: map[string]string{
				"vmware.com/display-name": "Ubuntu 24.04", "vsphere.openpacific.io/content-library": "images",
				"vmoperator.vmware.com/conversion-content-lib-ref": `{"apiGroup":"imageregistry.vmware.com","kind":"ContentLibrary","name":"` +
					facts.ProviderName("cl", "0d6c4c1f-images") + `"}`,
			},
		},
		Spec: v1alpha5.VirtualMachineImageSpec{ProviderRef: &common.LocalObjectRef{
			APIVersion: "imageregistry.vmware.com/v1alpha1", Kind: "ContentLibraryItem", Name: "clitem-0a0044d7c690bcbea",
		}},
		Status: v1alpha5.VirtualMachineImageStatus{
			Name: "Ubuntu 24.04", Type: "OVF", Firmware: "efi", HardwareVersion: &hardware, ProviderItemID: first,
			ProviderContentVersion: "2",
			Capabilities:           []string{"cloud-init", "nvidia-gpu", "not a label!"},
			OSInfo:                 v1alpha5.VirtualMachineImageOSInfo{ID: "94", Type: "ubuntu64Guest", Version: "24.04"},
			ProductInfo: v1alpha5.VirtualMachineImageProductInfo{Product: "Ubuntu Server", Vendor: "Canonical",
				Version: "24.04", FullVersion: "24.04.3 LTS"},
			OVFProperties: []v1alpha5.OVFProperty{
				{Key: "hostname", Type: "string", Default: &text}, {Key: "user-data", Type: "string"},
			},
			VMwareSystemProperties: []common.KeyValuePair{{Key: "vmware-system.tkr.os-type", Value: "linux"}},
			Disks: []v1alpha5.VirtualMachineImageDiskInfo{
				{Name: "Hard disk 1", Limit: size("20Gi"), Requested: size("20Gi"), ControllerType: "SCSI",
					ControllerBusNumber: &bus, UnitNumber: &unit},
				{Name: "Hard disk 1_1", Limit: size("1Gi"), Requested: size("1Gi")},
			},
			Conditions: []metav1.Condition{
				{Type: "Ready", Status: "True", Reason: "True", LastTransitionTime: metav1.NewTime(made.Add(time.Hour))},
				{Type: "VirtualMachineImageV1Alpha1Compatible", Status: "True", Reason: "True",
					LastTransitionTime: metav1.NewTime(made)},
			},
		},
	}
	got := w.images.shown["team-a/"+one]
	want.UID = got.UID
	if diff := cmp.Diff(&want, got); diff != "" || got.UID == "" {
		t.Errorf("in a namespace (-want +got):\n%s", diff)
	}
	all := w.all.shown["/"+one]
	if all.Spec.ProviderRef.Kind != "ClusterContentLibraryItem" || all.Namespace != "" || all.UID == got.UID ||
		!cmp.Equal(all.Status, got.Status) {
		t.Errorf("of the whole cluster: %+v", all)
	}
}

// The condition says why an image may be out of date, with vm-operator's reasons, and keeps its time while it stays.
func TestReady(t *testing.T) {
	w := newWorld("images")
	w.namespaces()
	good := item(first, "image")
	broken, forbidden := good, good
	broken.Type, broken.Problem, broken.Version = facts.ItemOVF, "its descriptor cannot be used", "3"
	broken.Image, broken.ImageVersion = &facts.Image{}, "2"
	forbidden.NotCompliant = true
	dead := library("images", good)
	dead.Problem = "vCenter answered 503"
	start := w.clock.Now()
	for i, step := range []struct {
		library         *facts.Library
		status          metav1.ConditionStatus
		reason, message string
		version, name   string
		time            time.Time
	}{
		{library("images", good), "True", "True", "", "2", "as it is", made.Add(time.Hour)},
		{dead, "False", "VirtualMachineImageProviderNotReady", "vCenter answered 503", "2", "the library is dead",
			start.Add(1 * time.Minute)},
		{library("images", broken), "False", "VirtualMachineImageNotSynced", "cannot be used", "2",
			"the contents cannot be read", start.Add(1 * time.Minute)},
		{library("images", forbidden), "False", "VirtualMachineImageProviderSecurityNotCompliant", "security policy", "2",
			"not signed", start.Add(1 * time.Minute)},
		{library("images", good), "True", "True", "", "2", "as it is again", start.Add(4 * time.Minute)},
	} {
		w.clock.SetTime(start.Add(time.Duration(i) * time.Minute))
		w.SetLibraries([]*facts.Library{step.library})
		image := w.all.shown["/"+one]
		got := image.Status.Conditions[0]
		if got.Status != step.status || got.Reason != step.reason || !strings.Contains(got.Message, step.message) ||
			!got.LastTransitionTime.Time.Equal(step.time) ||
			image.Status.ProviderContentVersion != step.version {
			t.Errorf("%s: version %s, %+v, want %+v", step.name, image.Status.ProviderContentVersion, got, step)
		}
	}
}

// TestKeeps: of a descriptor no more is held than is shown.
func TestKeeps(t *testing.T) {
	for key, want := range map[string]bool{
		"capabilities.image.vmoperator.vmware.com": true,
		"vmware-system.compatibilityoffering.type": true,
		"vmservice.vmi.labels":                     true,
		"guestinfo.vmservice.defer-cloud-init":     true,
		"guestinfo.userdata":                       false,
		"licence":                                  false,
	} {
		if got := virtualmachineimage.Keeps(key); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
}

// Another library of the name that is given is not given, whether the one that is meant is there or not.
func TestAnotherLibraryOfTheNameIsNotGiven(t *testing.T) {
	w := newWorld()
	meant, other := library("images", item(first, "a")), library("images", item(second, "b"))
	other.ID = "another"
	w.namespaces(vns("team-a", "1", "images"))
	w.SetLibraries([]*facts.Library{meant, other})
	if len(w.images.shown) != 1 || w.images.shown["team-a/"+one] == nil {
		t.Errorf("beside another of the name: %v", w.images.shown)
	}
	w.SetLibraries([]*facts.Library{other})
	if len(w.images.shown) > 0 {
		t.Errorf("without the one that is meant: %v", w.images.shown)
	}
}

// A library that is given to everybody by its name is the one that had it, and none when several have. By its id it
// is that one alone.
func TestWhichLibraryIsEverybodys(t *testing.T) {
	called := func(id, name string) *facts.Library {
		return &facts.Library{ID: id, Name: name, Items: []facts.Item{item(first, "of "+id)}}
	}
	other := &facts.Library{ID: "other", Name: "images", Items: []facts.Item{item(second, "of other")}}
	ours, theirs := []string{"/" + one}, []string{"/" + two}
	for name, test := range map[string]struct {
		everywhere string
		steps      [][]*facts.Library
		want       [][]string
	}{
		"by name, renamed": {"images", [][]*facts.Library{{called("a", "images")}, {called("a", "later")}},
			[][]string{ours, ours}},
		"by name, with a namesake later": {"images", [][]*facts.Library{{called("a", "images")},
			{called("a", "images"), other}}, [][]string{ours, ours}},
		"by name, with a namesake": {"images", [][]*facts.Library{{called("a", "images"), other}, {other}},
			[][]string{nil, theirs}},
		"by name, made anew": {"images", [][]*facts.Library{{called("a", "images")}, {other}},
			[][]string{ours, theirs}},
		"by id": {"a", [][]*facts.Library{{called("a", "images"), other},
			{called("a", "later"), other}}, [][]string{ours, ours}},
		"by name, another takes it": {
			"images", [][]*facts.Library{{called("a", "images")}, {called("a", "later"), other}}, [][]string{ours, ours},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(test.everywhere)
			w.namespaces()
			for i, step := range test.steps {
				w.SetLibraries(step)
				expect(t, "shown", test.want[i], slices.Sorted(maps.Keys(w.all.shown)))
				var given []string
				for _, ref := range w.Everybody() {
					given = append(given, ref.Name)
				}
				if len(given) != len(test.want[i]) || len(given) > 0 && !w.Given(given[0]) {
					t.Errorf("given are %v", given)
				}
			}
		})
	}
}
