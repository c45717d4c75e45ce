// SPDX-License-Identifier: Apache-2.0

package virtualmachineimage

import (
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/projected"
)

// Projection makes images of the items of content libraries, where those are given. It is told of the libraries by
// SetLibraries, and of the vSphere Namespaces as they are shown. Its methods may be called from any goroutine.
// Everywhere, Clock and Logger are set before use. Nothing is shown before libraries and vSphere Namespaces are known:
// half of them would be wrong.
type Projection struct {
	// Everywhere are the content libraries that count as given to all, each by its name or its id. By name it is the one
	// that had it when it was seen first, whatever that is called later; while there are several, none.
	Everywhere []string
	Clock      clock.PassiveClock
	Logger     klog.Logger

	images        projected.Objects[v1alpha5.VirtualMachineImage]        // by namespace and name
	clusterImages projected.Objects[v1alpha5.ClusterVirtualMachineImage] // by name

	mu sync.Mutex
	// libraries are by name, several of one name in the order of their ids. Nil: nothing was read yet.
	libraries map[string][]*facts.Library
	// made are the images of each library.
	made map[*facts.Library][]*image
	// ready are the conditions of the images, by the ids of their items.
	ready map[string]metav1.Condition
	// namespaces are by name. Nil: they are not known yet.
	namespaces map[string]*place
	cluster    place
	// meant are the ids of the libraries that Everywhere names, and unclear those of its names that several have.
	meant   map[string]string
	unclear map[string]bool
	// begun says that all images were shown once.
	begun bool
}

var _ projected.Sink[vspherev1.Namespace] = (*Projection)(nil)

// place is where images show: a namespace, or the whole cluster.
type place struct {
	namespace string // "" for the whole cluster
	uid       string // of the vSphere Namespace
	given     []facts.LibraryRef
	shown     map[string]*image // by name
}

// Images are what is shown of the images of namespaces.
func (p *Projection) Images() *projected.Objects[v1alpha5.VirtualMachineImage] { return &p.images }

// ClusterImages are what is shown of those of the whole cluster.
func (p *Projection) ClusterImages() *projected.Objects[v1alpha5.ClusterVirtualMachineImage] {
	return &p.clusterImages
}

// Given says whether a library of that name is given to anybody.
func (p *Projection) Given(library string) bool {
	if slices.Contains(p.Everywhere, library) {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.ContainsFunc(p.cluster.given, func(ref facts.LibraryRef) bool { return ref.Name == library }) {
		return true
	}
	for _, at := range p.namespaces {
		if slices.ContainsFunc(at.given, func(ref facts.LibraryRef) bool { return ref.Name == library }) {
			return true
		}
	}
	return false
}

// Everybody are the content libraries that are given to all.
func (p *Projection) Everybody() []facts.LibraryRef {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cluster.given
}

// everybody finds out which libraries are meant by Everywhere.
func (p *Projection) everybody() []facts.LibraryRef {
	if p.meant == nil {
		p.meant, p.unclear = map[string]string{}, map[string]bool{}
	}
	byID := map[string]facts.LibraryRef{}
	for name, libraries := range p.libraries {
		for _, library := range libraries {
			byID[library.ID] = facts.LibraryRef{ID: library.ID, Name: name}
		}
	}
	var given []facts.LibraryRef
	for _, called := range p.Everywhere {
		ref, found := byID[called]
		if !found {
			ref, found = byID[p.meant[called]]
		}
		named := p.libraries[called]
		if !found && len(named) == 1 {
			ref, found = byID[named[0].ID], true
		}
		if unclear := !found && len(named) > 1; unclear != p.unclear[called] {
			p.unclear[called] = unclear
			if unclear {
				p.Logger.Info("vCenter has several content libraries of a name that is to be given to everybody, and gives none: "+
					"name the one that is meant by its id", "library", called, "ids", named[0].ID+", "+named[1].ID)
			}
		}
		if found && !slices.Contains(given, ref) {
			p.meant[called] = ref.ID
			given = append(given, ref)
		}
	}
	return given
}

// SetLibraries takes all content libraries. What is the same pointer as before is the same library.
func (p *Projection) SetLibraries(all []*facts.Library) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.libraries
	p.libraries = map[string][]*facts.Library{}
	made, ready := make(map[*facts.Library][]*image, len(all)), map[string]metav1.Condition{}
	for _, library := range all {
		p.libraries[library.Name] = append(p.libraries[library.Name], library)
		images, known := p.made[library]
		if !known {
			images = p.imagesOf(library)
		}
		made[library] = images
		for _, image := range images {
			ready[image.id] = image.status.Conditions[0]
		}
	}
	p.made, p.ready = made, ready
	everybody := p.everybody()
	others := !slices.Equal(everybody, p.cluster.given)
	p.cluster.given = everybody
	if p.begin() || !p.begun {
		return
	}
	different := func(name string) bool { return !slices.Equal(before[name], p.libraries[name]) }
	if others {
		p.show(&p.cluster)
	}
	p.refresh(&p.cluster, different)
	for _, key := range slices.Sorted(maps.Keys(p.namespaces)) {
		p.refresh(p.namespaces[key], different)
	}
	p.flush()
}

// flush ends a step.
func (p *Projection) flush() {
	p.images.Flush()
	p.clusterImages.Flush()
}

// imagesOf makes the images of a library. The time of a condition is when it came about, and of what was so from the start,
// when the item was changed last.
func (p *Projection) imagesOf(library *facts.Library) []*image {
	images := make([]*image, len(library.Items))
	for i := range library.Items {
		item := &library.Items[i]
		ready := readiness(library, item)
		before, known := p.ready[item.ID]
		switch {
		case known && before.Status == ready.Status:
			ready.LastTransitionTime = before.LastTransitionTime
		case !known && ready.Status == metav1.ConditionTrue && !item.Modified.IsZero():
			ready.LastTransitionTime = seconds(item.Modified)
		default:
			ready.LastTransitionTime = seconds(p.Clock.Now())
		}
		images[i] = imageOf(library, item)
		images[i].status.Conditions = []metav1.Condition{ready}
		if compatible(item.Image) {
			images[i].status.Conditions = append(images[i].status.Conditions, metav1.Condition{
				Type: v1alpha5.VirtualMachineImageV1Alpha1CompatibleCondition, Status: metav1.ConditionTrue,
				Reason: string(metav1.ConditionTrue), LastTransitionTime: seconds(item.Created),
			})
		}
	}
	return images
}

// Replace takes all vSphere Namespaces.
func (p *Projection) Replace(objects iter.Seq[*vspherev1.Namespace]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	there := map[string]*vspherev1.Namespace{}
	for namespace := range objects {
		there[namespace.Name] = namespace
	}
	for _, name := range slices.Sorted(maps.Keys(p.namespaces)) {
		if there[name] == nil {
			p.change(name, nil)
		}
	}
	if p.namespaces == nil {
		p.namespaces = make(map[string]*place, len(there))
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		p.change(name, there[name])
	}
	if !p.begin() {
		p.flush()
	}
}

// Apply takes the vSphere Namespaces that changed. Most changes are of their usage, which is nothing to images.
func (p *Projection) Apply(changes []projected.Change[vspherev1.Namespace]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.namespaces == nil {
		return // Replace comes first
	}
	for _, change := range changes {
		p.change(change.Name, change.Object)
	}
	p.flush()
}

// change takes a vSphere Namespace, nil for one that is gone.
func (p *Projection) change(name string, namespace *vspherev1.Namespace) {
	before := p.namespaces[name]
	if before != nil && (namespace == nil || before.uid != string(namespace.UID)) {
		before.given = nil
		p.show(before)
		delete(p.namespaces, name)
		before = nil
	}
	if namespace == nil {
		return
	}
	given := givenTo(namespace)
	switch {
	case before == nil:
		at := &place{namespace: namespace.Name, uid: string(namespace.UID), given: given}
		p.namespaces[name] = at
		p.show(at)
	case !slices.Equal(before.given, given):
		before.given = given
		p.show(before)
	}
}

// givenTo are the content libraries that count for a vSphere Namespace: those of its status, and not whatever has a name
// of its spec by now.
func givenTo(namespace *vspherev1.Namespace) []facts.LibraryRef {
	given := make([]facts.LibraryRef, len(namespace.Status.ContentLibraries))
	for i, library := range namespace.Status.ContentLibraries {
		given[i] = facts.LibraryRef{ID: library.ID, Name: library.Name}
	}
	return given
}

// begin shows everything, once everything is known. It says whether it did.
func (p *Projection) begin() bool {
	if p.begun || p.libraries == nil || p.namespaces == nil {
		return false
	}
	p.begun = true
	p.images.Begin()
	p.clusterImages.Begin()
	p.show(&p.cluster)
	for _, at := range p.namespaces {
		p.show(at)
	}
	p.flush()
	return true
}

// refresh shows the images of a place that is given a library that is different.
func (p *Projection) refresh(at *place, different func(name string) bool) {
	if slices.ContainsFunc(at.given, func(ref facts.LibraryRef) bool { return different(ref.Name) }) {
		p.show(at)
	}
}

// wanted are the images that are to show in a place.
func (p *Projection) wanted(at *place) map[string]*image {
	wanted := map[string]*image{}
	for _, ref := range at.given {
		for _, library := range p.libraries[ref.Name] {
			if !ref.Means(facts.LibraryRef{ID: library.ID, Name: library.Name}) {
				continue
			}
			for _, image := range p.made[library] {
				wanted[image.name] = image
			}
		}
	}
	return wanted
}

// show shows the images of a place that are new or different, and hides those that are gone.
func (p *Projection) show(at *place) {
	if !p.begun {
		return
	}
	wanted := p.wanted(at)
	for _, name := range slices.Sorted(maps.Keys(at.shown)) {
		if wanted[name] != nil {
			continue
		}
		if at == &p.cluster {
			p.clusterImages.Drop(name)
		} else {
			p.images.Drop(at.namespace + "/" + name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		switch {
		case at.shown[name] == wanted[name]:
		case at == &p.cluster:
			p.clusterImages.Set(name, wanted[name].clusterObject())
		default:
			p.images.Set(at.namespace+"/"+name, wanted[name].object(at))
		}
	}
	at.shown = wanted
}

func (i *image) object(at *place) *v1alpha5.VirtualMachineImage {
	object := &v1alpha5.VirtualMachineImage{ObjectMeta: i.own.meta, Spec: i.own.spec, Status: i.status}
	object.Namespace, object.UID = at.namespace, uidOf(i.id, at.uid)
	return object
}

func (i *image) clusterObject() *v1alpha5.ClusterVirtualMachineImage {
	object := &v1alpha5.ClusterVirtualMachineImage{ObjectMeta: i.all.meta, Spec: i.all.spec, Status: i.status}
	object.UID = uidOf(i.id, "")
	return object
}

// uidOf makes the uid of the image of an item, which is the same whenever it is made. An item's identifier is no other
// item's, of whichever vCenter.
func uidOf(item, namespace string) types.UID {
	return types.UID(uuid.NewSHA1(uuid.NameSpaceURL, []byte("vsphere://contentlibrary/item/"+item+"/namespace/"+namespace)).String())
}
