// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// The reasons of the condition Ready.
const (
	ReasonReady         = "Ready"
	ReasonPending       = "Pending"
	ReasonTerminating   = "Terminating"
	ReasonFolderMissing = "FolderMissing"
	// ReasonZoneInUse: a zone that is not asked for any more holds machines.
	ReasonZoneInUse = "ZoneInUse"
	// ReasonNoResourcePool: nobody has asked for a zone, and there is no pool.
	ReasonNoResourcePool = "NoResourcePool"
)

// ReasonNameTaken is the reason of the condition Named.
const ReasonNameTaken = "NameTaken"

// problem is why something could not be done.
type problem struct{ message string }

const (
	// cpuStep and byteStep are what usage is rounded to: MHz and bytes.
	cpuStep  = 10
	byteStep = 64 << 20
)

func roundUp(n, step int64) int64 { return (n + step - 1) / step * step }

// uidOf is the uid of a namespace that nobody ever wrote to.
func uidOf(instance, folder string) k8stypes.UID {
	return k8stypes.UID(uuid.NewSHA1(uuid.NameSpaceURL, []byte("vsphere://"+instance+"/Folder/"+folder)).String())
}

// project makes the object of an entry.
func (p *Projector) project(e *entry) *v1alpha1.Namespace {
	object := &v1alpha1.Namespace{}
	var pools []*pool
	var asked []records.Portion
	var live []string
	for _, zone := range e.zones {
		leaving := e.leaves(zone)
		if leaving && e.record.Keeps(p.idOfPool(zone.pool.id)) && p.within(e, zone.pool) == 0 {
			continue // it is let go
		}
		pools = append(pools, zone.pool)
		if !leaving {
			asked, live = append(asked, zone.pool.has), append(live, zone.name)
		}
		object.Status.Zones = append(object.Status.Zones,
			v1alpha1.NamespaceZoneStatus{Name: zone.name, ResourcePool: zone.pool.id, Leaving: leaving})
	}
	if e.record == nil {
		object.UID = uidOf(p.instance, e.folder)
		object.Generation = 1
		object.Finalizers = []string{v1alpha1.NamespaceFinalizer}
		object.Spec.Zones = live
	} else {
		record := e.record.Clone()
		object.ObjectMeta, object.Spec = record.Metadata, record.Spec
		object.Spec.Zones = record.Zones
		object.Status.ContentLibraries = given(e)
		if len(record.Zones) == 0 {
			object.Spec.Zones = live
		}
	}
	object.Name, object.ResourceVersion = e.name, ""
	if object.CreationTimestamp.IsZero() {
		object.CreationTimestamp = p.births[e.folder]
	}
	object.Spec.Resources = records.Sum(asked)
	if e.record != nil && e.record.Resources != nil {
		object.Spec.Resources = *e.record.Resources.DeepCopy()
	}
	if p.owns(e) {
		object.Status.Folder = e.folder
	}
	object.Status.Usage = p.usage(e, pools)
	p.conclude(e, object)
	return object
}

// owns says whether the folder of an entry is its own already. One that is to be
// taken over is, once that is done: it may be detached still, and would look like
// one whose Kubernetes Namespace was deleted. One that Pacific may have made is,
// once that is known; detached before that, it is to go. Of one that is being
// deleted it is in any case: by it the Kubernetes Namespace is found that was made
// for it.
func (p *Projector) owns(e *entry) bool {
	switch {
	case e.record == nil || e.record.Deleting():
		return true
	case e.record.Folder.IsZero():
		return p.detached[p.id(e.folder)]
	}
	return !e.record.Bring
}

// leaves says whether a zone is not asked for any more.
func (e *entry) leaves(z zone) bool {
	return e.record != nil && !e.record.Live() && !slices.Contains(e.record.Zones, z.name)
}

// within counts the machines of a namespace that are in a pool, or in one in it.
func (p *Projector) within(e *entry, pool *pool) (count int) {
	if e.folder == "" {
		return 0
	}
	for m := range p.members[e.folder] {
		for at := p.pools[m.pool]; at != nil; at = p.pools[at.parent] {
			if at == pool {
				count++
				break
			}
		}
	}
	return count
}

// missing says what has become of the folder of a record.
func (p *Projector) missing(record *records.Stored) string {
	id, was := record.Folder, record.Seen[record.Folder]
	now, there := p.see(id)
	switch {
	case id.VCenter != p.instance:
		return fmt.Sprintf("Its folder %s lies in another vCenter, %s: this one is %s.", id.Value, id.VCenter, p.instance)
	case there:
		return fmt.Sprintf("The folder %s of vCenter is called %q, and its folder was called %q when it was seen last: it "+
			"is taken for another one. "+
			"If it is the same, rename it back; it may be renamed again while Pacific runs.", id.Value, now.Name, was.Name)
	}
	return "Its folder " + id.Value + " does not lie in the namespaces folder of vCenter any more."
}

// staying says which zones are not asked for any more and hold machines still.
// Empty: none.
func (p *Projector) staying(e *entry) string {
	var zones []string
	for _, zone := range e.zones {
		if !e.leaves(zone) {
			continue
		}
		switch count := p.within(e, zone.pool); count {
		case 0:
		case 1:
			zones = append(zones, fmt.Sprintf("zone %q, where a virtual machine is still in the resource pool %s", zone.name,
				zone.pool.id))
		default:
			zones = append(zones, fmt.Sprintf("zone %q, where %d virtual machines are still in the resource pool %s", zone.name,
				count, zone.pool.id))
		}
	}
	return strings.Join(zones, ", and ")
}

func (p *Projector) usage(e *entry, pools []*pool) v1alpha1.NamespaceUsage {
	var shown v1alpha1.NamespaceUsage
	var used usage
	for _, pool := range pools {
		used.mhz += pool.shown.mhz
		used.bytes += pool.shown.bytes
	}
	shown.CPUMHz = roundUp(used.mhz, cpuStep)
	if len(pools) > 0 {
		shown.Memory = resource.NewQuantity(roundUp(used.bytes, byteStep), resource.BinarySI)
	}
	if e.folder == "" {
		return shown
	}
	storage := taken{}
	for m := range p.members[e.folder] {
		storage.add(m.shown, p.policyNames)
		if m.template {
			continue
		}
		shown.VirtualMachines++
		if m.on {
			shown.PoweredOn++
		}
	}
	shown.Storage = storage.usage()
	return shown
}

// conclude sets phase and conditions.
func (p *Projector) conclude(e *entry, object *v1alpha1.Namespace) {
	ready := metav1.Condition{Type: v1alpha1.NamespaceConditionReady, Status: metav1.ConditionFalse,
		ObservedGeneration: object.Generation}
	switch {
	case e.record != nil && e.record.Deleting():
		object.Status.Phase = v1alpha1.NamespaceTerminating
		ready.Reason, ready.Message = ReasonTerminating, "It is being deleted: first what lies in it, then what Pacific "+
			"made for it in vCenter."
	case e.record != nil && e.folder == "" && !e.record.Folder.IsZero() && !e.record.Bring:
		object.Status.Phase = v1alpha1.NamespacePending
		ready.Reason, ready.Message = ReasonFolderMissing, p.missing(e.record)
	case !complete(e):
		object.Status.Phase = v1alpha1.NamespacePending
		ready.Reason, ready.Message = ReasonPending, "Its folder and resource pools are being made in vCenter."
	case p.staying(e) != "":
		object.Status.Phase = v1alpha1.NamespaceRunning
		ready.Reason = ReasonZoneInUse
		ready.Message = "It has given up " + p.staying(e) + ", which keeps its limits: move the machines to another zone."
	case len(e.zones) == 0:
		object.Status.Phase = v1alpha1.NamespaceRunning
		ready.Reason = ReasonNoResourcePool
		ready.Message = "It has a folder and no resource pool, so that nothing limits its machines: ask for zones by " +
			"spec.zones, or for limits by spec.resources."
	default:
		object.Status.Phase = v1alpha1.NamespaceRunning
		ready.Status, ready.Reason = metav1.ConditionTrue, ReasonReady
		ready.Message = "Folder and resource pools are there."
		if gone := p.vanished(object); len(gone) > 0 {
			ready.Message += " vCenter does not have the storage policy " + strings.Join(gone, ", ") +
				" (any more): it gives no storage class."
		}
	}
	trouble, found := p.problems[object.UID]
	if found && (ready.Reason == ReasonPending || ready.Reason == ReasonTerminating ||
		ready.Reason == ReasonFolderMissing) {
		ready.Message = trouble.message
	}
	unknown := metav1.Unix(0, 0)
	var before *metav1.Condition
	if e.object != nil && e.object.UID == object.UID {
		before = meta.FindStatusCondition(e.object.Status.Conditions, ready.Type)
	}
	steady := before == nil || before.Status == ready.Status
	switch {
	case e.record == nil && !object.CreationTimestamp.IsZero():
		ready.LastTransitionTime = object.CreationTimestamp
	case before != nil && steady && !before.LastTransitionTime.Equal(&unknown):
		ready.LastTransitionTime = before.LastTransitionTime
	case steady && ready.Status == metav1.ConditionTrue && !object.CreationTimestamp.IsZero():
		// Said anew by each process that starts: the time must not depend on when.
		ready.LastTransitionTime = object.CreationTimestamp
	case steady && object.CreationTimestamp.IsZero():
		ready.LastTransitionTime = unknown
	default:
		ready.LastTransitionTime = metav1.NewTime(p.clock.Now().Truncate(1e9))
	}
	object.Status.Conditions = []metav1.Condition{ready}
	if name := e.refused; name != "" {
		object.Status.Conditions = append(object.Status.Conditions, p.unnamed(e, object, name))
	}
	if message := p.astray(e); message != "" {
		object.Status.Conditions = append(object.Status.Conditions, p.unknownLibraries(e, object, message))
	}
}

// unnamed says that a namespace does not have the name of its folder, and what
// helps.
func (p *Projector) unnamed(e *entry, object *v1alpha1.Namespace, name string) metav1.Condition {
	condition := metav1.Condition{
		Type: v1alpha1.NamespaceConditionNamed, Status: metav1.ConditionFalse, ObservedGeneration: object.Generation, Reason: ReasonNameTaken,
		Message: fmt.Sprintf("The folder is called %q, but the Kubernetes Namespace of that name was not made for it. "+
			"To have the folder served there, with all rights that people have there, run: kubectl annotate namespace %s %s=%s",
			name, name, vsphere.ClaimAnnotation, p.id(e.folder)),
	}
	condition.LastTransitionTime = since(e, object, condition.Type)
	return condition
}

// since is the time of a condition that is there only when something is wrong: of its first showing, and of what was so
// from the start, as of a process that starts, that of the creation.
func since(e *entry, object *v1alpha1.Namespace, conditionType string) metav1.Time {
	if e.object != nil && e.object.UID == object.UID {
		if before := meta.FindStatusCondition(e.object.Status.Conditions, conditionType); before != nil {
			return before.LastTransitionTime
		}
	}
	if !object.CreationTimestamp.IsZero() {
		return object.CreationTimestamp
	}
	return metav1.Unix(0, 0)
}

// complete says whether all is there in vCenter that the record wants.
func complete(e *entry) bool {
	if e.folder == "" {
		return false
	}
	if e.record == nil {
		return true
	}
	if e.record.Folder.IsZero() || e.record.Resources != nil {
		return false
	}
	for _, wanted := range e.record.Zones {
		if !slices.ContainsFunc(e.zones, func(z zone) bool { return z.name == wanted }) {
			return false
		}
	}
	return true
}
