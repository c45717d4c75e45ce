// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

func inFolder(id string) facts.ID { return facts.ID{Type: TypeFolder, Value: id} }

// asked is a record of team-a, with all that can be asked for in one place alone.
func asked(change func(*Metadata)) Metadata {
	m := Metadata{
		Head: facts.Head{UID: "uid-vm-1", Sequence: 4, Namespace: "team-a", Name: "web", Folder: inFolder("a"),
			Deletion: time.Unix(1_700_000_000, 0).UTC()},
		Body: Body{Finalizers: []string{"example.com/hold"}, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "o"}}},
	}
	if change != nil {
		change(&m)
	}
	return m
}

// counting is what of a machine's record shows.
type counting struct {
	Served                string
	Deleting, Held, Owned bool
	Withdrawn             bool
	Aside                 string
}

func show(p *Projector, r *recorder) counting {
	c := counting{}
	for id := range p.Withdrawn() {
		c.Withdrawn = c.Withdrawn || id.Value == "vm-1"
	}
	for key, o := range r.objects {
		if o.UID != "uid-vm-1" {
			continue
		}
		c.Served = strings.TrimPrefix(key, keyPrefix)
		c.Deleting = o.DeletionTimestamp != nil
		c.Held = len(o.Finalizers) == 2
		c.Owned = len(o.OwnerReferences) == 1
		for _, condition := range o.Status.Conditions {
			if condition.Type == MetadataInForceCondition {
				c.Aside = condition.Message
			}
		}
	}
	return c
}

// TestARecordCountsWhereItWasWritten follows one machine, whose deletion was asked for in team-a, through vCenter.
func TestARecordCountsWhereItWasWritten(t *testing.T) {
	here := func(m Metadata) inventory.Object { return vm("vm-1", "web", "a", machine.PathRecord, encoded(t, m)) }
	in := func(folder string, more ...any) inventory.Object {
		return vm("vm-1", "web", folder, append([]any{machine.PathRecord, encoded(t, asked(nil))}, more...)...)
	}
	gone := inventory.Update{NamespacesFolder: ref(TypeFolder, "root"),
		Removed: []types.ManagedObjectReference{vmRef("vm-1")}}
	renamed := changed(folder("a", "team-x", "root"))
	const deletion = "the deletion that was asked for at 2023-11-14T22:13:20Z"
	const others = "the ownerReferences to ConfigMap owner, nor the finalizers example.com/hold"
	text := func(what string) string {
		return "the record in the virtual machine was written when it was team-a/web; of it " + what +
			" does not count here, and is dropped with the next write"
	}
	all := counting{Served: "team-a/web", Deleting: true, Held: true, Owned: true}
	over := counting{Served: "team-a/web", Held: true, Owned: true, Withdrawn: true, Aside: text(deletion)}
	elsewhere := counting{Served: "team-b/web", Withdrawn: true, Aside: text(deletion + ", nor " + others)}
	hidden := counting{Withdrawn: true}
	again := asked(func(m *Metadata) { m.Sequence = 6 })
	type step struct {
		name string
		do   func(*fed)
		want counting
	}
	apply := func(u inventory.Update) func(*fed) { return func(p *fed) { p.Apply(u) } }
	for name, steps := range map[string][]step{
		"moved to another namespace, and back": {
			{"away", apply(changed(in("b"))), elsewhere},
			{"back", apply(changed(in("a"))), over},
			{"asked for again", apply(changed(here(again))), all},
		},
		"moved out, and back": {
			{"away", apply(gone), hidden},
			{"back", apply(changed(in("a"))), over},
			{"taken out", apply(changed(here(asked(func(m *Metadata) { m.Sequence, m.Deletion = 5, time.Time{} })))),
				counting{Served: "team-a/web", Held: true, Owned: true}},
		},
		"moved out, and back while vCenter cannot read it": {
			{"away", apply(gone), hidden},
			{"back", apply(changed(veiled(in("a")))), counting{}},
			{"told", apply(changed(in("a"))), over},
		},
		"made a template, and a machine again": {
			{"template", apply(changed(in("a", machine.PathTemplate, true))), counting{}},
			{"machine", apply(changed(in("a"))), over},
		},
		"detached, and attached": {
			{"detached", func(p *fed) { p.SetDetached(map[string]bool{"a": true}) }, hidden},
			{"attached", func(p *fed) { p.SetDetached(nil) }, over},
		},
		"moved deeper": {{"deeper", apply(changed(in("deep"))), all}},
		"its folder renamed, and back": {
			{"renamed", apply(renamed), counting{Served: "team-x/web", Deleting: true, Held: true,
				Aside: text("the ownerReferences to ConfigMap owner")}},
			{"back", apply(changed(folder("a", "team-a", "root"))), all},
		},
		"its folder moved out, and back": {
			{"out", apply(changed(folder("a", "team-a", "elsewhere"))), hidden},
			{"back", apply(changed(folder("a", "team-a", "root"))), over},
		},
		"its folder without a name, and with one": {
			{"without", func(p *fed) { p.SetNames(namespace.Names{}) }, counting{}},
			{"with", func(p *fed) { p.SetNames(namespace.Names{Granted: map[string]string{"a": "team-a"}}) }, all},
		},
		"called off": {
			{"for another", func(p *fed) { p.Withdraw("team-a", "web", "uid-vm-2") }, all},
			{"for it", func(p *fed) { p.Withdraw("team-a", "web", "uid-vm-1") }, over},
			{"asked for again", apply(changed(here(again))), all},
		},
		"forgotten": {
			{"away", apply(gone), hidden},
			{"forgotten", func(p *fed) { p.Forget(facts.ID{Type: TypeVirtualMachine, Value: "vm-1"}) }, counting{}},
			{"back", apply(changed(in("a"))), over},
		},
		"another machine of its id": {
			{"another uid", apply(changed(vm("vm-1", "web", "a", machine.PathInstanceUUID, "uid-vm-1", machine.PathRecord,
				encoded(t, asked(func(m *Metadata) { m.UID = "other" }))))), counting{Served: "team-a/web"}},
		},
		"another folder of the same name": {
			{"made anew", apply(changed(folder("a", "old", "elsewhere"), folder("a2", "team-a", "root"), in("a2"))),
				counting{Served: "team-a/web", Owned: true, Withdrawn: true,
					Aside: text(deletion + ", nor the finalizers example.com/hold")}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, mirror := newTestProjector()
			p.Apply(initial(in("a")))
			if diff := cmp.Diff(all, show(p.Projector, mirror)); diff != "" {
				t.Fatalf("at first (-want +got):\n%s", diff)
			}
			for _, step := range steps {
				step.do(p)
				if diff := cmp.Diff(step.want, show(p.Projector, mirror)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", step.name, diff)
				}
			}
		})
	}
}

// TestWhatIsWrittenElsewhereIsWrittenThere: a write takes what is shown, and so drops what does not count.
func TestWhatIsWrittenElsewhereIsWrittenThere(t *testing.T) {
	p, mirror := newTestProjector()
	p.Apply(initial(vm("vm-1", "web", "b", machine.PathRecord, encoded(t, asked(func(m *Metadata) {
		m.Created, m.Origin = true, inFolder("a")
	})))))
	current := mirror.objects[keyPrefix+"team-b/web"]
	desired := current.DeepCopy()
	desired.Labels = map[string]string{"app": "web"}
	state, _ := p.Find("team-b", "web")
	next, changed, err := record(&state, current, desired)
	if err != nil || !changed {
		t.Fatalf("changed %t, %v", changed, err)
	}
	want := facts.Head{UID: "uid-vm-1", Sequence: 5, Created: true, Namespace: "team-b", Name: "web",
		Folder: inFolder("b"), Origin: inFolder("a")}
	if diff := cmp.Diff(want, next.Head); diff != "" {
		t.Errorf("head (-want +got):\n%s", diff)
	}
	if len(next.Finalizers)+len(next.OwnerReferences) > 0 {
		t.Errorf("finalizers %v, owners %v", next.Finalizers, next.OwnerReferences)
	}
}

// TestARecordThatWentBack has a VI admin revert a machine to a snapshot whose record asks for what is over by now.
func TestARecordThatWentBack(t *testing.T) {
	at := func(sequence uint64, change func(*Metadata)) inventory.Object {
		m := asked(func(m *Metadata) { m.Sequence = sequence })
		if change != nil {
			change(&m)
		}
		return vm("vm-1", "web", "a", machine.PathRecord, encoded(t, m))
	}
	alive := func(m *Metadata) { m.Deletion = time.Time{} }
	type seen struct{ Deleting, Owned, WentBack, Condition bool }
	look := func(p *fed, r *recorder) seen {
		state, found := p.Find("team-a", "web")
		o := r.objects[keyPrefix+"team-a/web"]
		if !found || o == nil {
			t.Fatalf("it is not served; there is %v", r.keys())
		}
		s := seen{Deleting: o.DeletionTimestamp != nil, Owned: len(o.OwnerReferences) > 0, WentBack: state.WentBack}
		for _, c := range o.Status.Conditions {
			s.Condition = s.Condition || c.Type == MetadataCurrentCondition && c.Status == metav1.ConditionFalse
		}
		if len(p.Withdrawn()) > 0 {
			t.Error("a deletion is to be withdrawn: nobody has decided that")
		}
		return s
	}
	for name, back := range map[string]inventory.Object{"older": at(3, nil), "none": vm("vm-1", "web", "a")} {
		t.Run(name, func(t *testing.T) {
			p, mirror := newTestProjector()
			p.Apply(initial(at(5, alive)))
			if diff := cmp.Diff(seen{Owned: true}, look(p, mirror)); diff != "" {
				t.Fatalf("at first (-want +got):\n%s", diff)
			}
			p.Apply(changed(back))
			if diff := cmp.Diff(seen{WentBack: true, Condition: true}, look(p, mirror)); diff != "" {
				t.Errorf("gone back (-want +got):\n%s", diff)
			}
			// Any write of a user's decides, by what is shown.
			current := mirror.objects[keyPrefix+"team-a/web"]
			desired := current.DeepCopy()
			desired.Labels = map[string]string{"seen": "yes"}
			state, _ := p.Find("team-a", "web")
			next, written, err := record(&state, current, desired)
			if err != nil || !written || next.Sequence != 6 || !next.Deletion.IsZero() || len(next.OwnerReferences) > 0 {
				t.Fatalf("written %t, %v: %+v", written, err, next)
			}
			p.Apply(changed(vm("vm-1", "web", "a", machine.PathRecord, encoded(t, *next))))
			if diff := cmp.Diff(seen{}, look(p, mirror)); diff != "" {
				t.Errorf("decided (-want +got):\n%s", diff)
			}
		})
	}
	// The latest that there was, again: nothing is lost.
	p, mirror := newTestProjector()
	p.Apply(initial(at(5, alive)))
	p.Apply(changed(at(3, nil)))
	p.Apply(changed(at(5, alive)))
	if diff := cmp.Diff(seen{Owned: true}, look(p, mirror)); diff != "" {
		t.Errorf("brought forward again (-want +got):\n%s", diff)
	}
}

// TestAnotherInstallationsMachine is served, as one without a record, and says whose it is.
func TestAnotherInstallationsMachine(t *testing.T) {
	p, mirror := newTestProjector()
	theirs := asked(func(m *Metadata) { m.Installation, m.Created = "theirs", true })
	theirs.Labels = map[string]string{"app": "theirs"}
	theirs.Annotations = map[string]string{vsphere.ReclaimPolicyAnnotation: vsphere.ReclaimDelete}
	p.Apply(initial(vm("vm-1", "web", "a", machine.PathRecord, encoded(t, theirs))))
	o := mirror.objects[keyPrefix+"team-a/web"]
	if o == nil || o.Labels["app"] != "" || len(o.Annotations)+len(o.OwnerReferences) > 0 || o.DeletionTimestamp != nil ||
		len(o.Finalizers) != 1 {
		t.Fatalf("served as %+v", o)
	}
	if p.Created("team-a", "web", "uid-vm-1") {
		t.Error("it counts as one that this installation made")
	}
	said := ""
	for _, c := range o.Status.Conditions {
		if c.Type == MetadataInForceCondition {
			said = c.Reason + ": " + c.Message
		}
	}
	if !strings.HasPrefix(said, AnotherInstallationReason) ||
		!strings.Contains(said, "vsphere.openpacific.io/take-over=theirs") {
		t.Errorf("condition %q", said)
	}
	if len(p.Withdrawn()) > 0 {
		t.Error("their deletion is to be withdrawn")
	}
	state, _ := p.Find("team-a", "web")
	desired := o.DeepCopy()
	for annotation, want := range map[string]bool{"": false, "ours": false, "theirs": true} {
		desired.Annotations = map[string]string{vsphere.TakeOverAnnotation: annotation}
		if err := writable(state, desired); (err == nil) != want || err != nil && !errors.Is(err, failure.Forbidden) {
			t.Errorf("take over from %q: %v", annotation, err)
		}
	}
	next, _, err := record(&state, o, desired)
	if err != nil || next.Created || next.Installation != "" || next.Sequence != 5 {
		t.Errorf("taken over: %+v, %v", next, err)
	}
}
