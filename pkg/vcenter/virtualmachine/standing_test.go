// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/namespace"
)

func inFolder(id string) facts.ID { return facts.ID{Type: TypeFolder, Value: id} }

// asked is a record of team-a, with all that can be asked for in one place alone.
func asked(change func(*Metadata)) Metadata {
	m := Metadata{
		Head: facts.Head{UID: "uid-vm-1", Sequence: 4, Namespace: "team-a", Name: "web", Folder: inFolder("a"), Deletion: time.Unix(1_700_000_000, 0).UTC()},
		Body: Body{Finalizers: []string{"example.com/hold"}, OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "o"}}},
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
		c.Served = strings.TrimPrefix(key, KeyPrefix)
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
	here := func(m Metadata) inventory.Object { return vm("vm-1", "web", "a", pathMetadata, encoded(t, m)) }
	in := func(folder string, more ...any) inventory.Object {
		return vm("vm-1", "web", folder, append([]any{pathMetadata, encoded(t, asked(nil))}, more...)...)
	}
	gone := inventory.Update{NamespacesFolder: ref(TypeFolder, "root"), Removed: []types.ManagedObjectReference{vmRef("vm-1")}}
	renamed := changed(folder("a", "team-x", "root"))
	const deletion = "the deletion that was asked for at 2023-11-14T22:13:20Z"
	const others = "the ownerReferences to ConfigMap owner, nor the finalizers example.com/hold"
	text := func(what string) string {
		return "the record in the virtual machine was written when it was team-a/web; of it " + what + " does not count here, and is dropped with the next write"
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
			{"taken out", apply(changed(here(asked(func(m *Metadata) { m.Sequence, m.Deletion = 5, time.Time{} })))), counting{Served: "team-a/web", Held: true, Owned: true}},
		},
		"made a template, and a machine again": {
			{"template", apply(changed(in("a", pathTemplate, true))), counting{}},
			{"machine", apply(changed(in("a"))), over},
		},
		"detached, and attached": {
			{"detached", func(p *fed) { p.SetDetached(map[string]bool{"a": true}) }, hidden},
			{"attached", func(p *fed) { p.SetDetached(nil) }, over},
		},
		"moved deeper": {{"deeper", apply(changed(in("deep"))), all}},
		"its folder renamed, and back": {
			{"renamed", apply(renamed), counting{Served: "team-x/web", Deleting: true, Held: true, Aside: text("the ownerReferences to ConfigMap owner")}},
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
			{"for another", func(p *fed) { p.Withdraw(Key("team-a", "web"), "uid-vm-2") }, all},
			{"for it", func(p *fed) { p.Withdraw(Key("team-a", "web"), "uid-vm-1") }, over},
			{"asked for again", apply(changed(here(again))), all},
		},
		"forgotten": {
			{"away", apply(gone), hidden},
			{"forgotten", func(p *fed) { p.Forget(facts.ID{Type: TypeVirtualMachine, Value: "vm-1"}) }, counting{}},
			{"back", apply(changed(in("a"))), over},
		},
		"another machine of its id": {
			{"another uid", apply(changed(vm("vm-1", "web", "a", pathInstanceUUID, "uid-vm-1", pathMetadata, encoded(t, asked(func(m *Metadata) { m.UID = "other" }))))), counting{Served: "team-a/web"}},
		},
		"another folder of the same name": {
			{"made anew", apply(changed(folder("a", "old", "elsewhere"), folder("a2", "team-a", "root"), in("a2"))),
				counting{Served: "team-a/web", Owned: true, Withdrawn: true, Aside: text(deletion + ", nor the finalizers example.com/hold")}},
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
	p.Apply(initial(vm("vm-1", "web", "b", pathMetadata, encoded(t, asked(func(m *Metadata) { m.Created = true })))))
	current := mirror.objects[Key("team-b", "web")]
	desired := current.DeepCopy()
	desired.Labels = map[string]string{"app": "web"}
	state, _ := p.Find(Key("team-b", "web"))
	next, changed, err := record(&state, current, desired)
	if err != nil || !changed {
		t.Fatalf("changed %t, %v", changed, err)
	}
	want := facts.Head{UID: "uid-vm-1", Sequence: 5, Created: true, Namespace: "team-b", Name: "web", Folder: inFolder("b")}
	if diff := cmp.Diff(want, next.Head); diff != "" {
		t.Errorf("head (-want +got):\n%s", diff)
	}
	if len(next.Finalizers)+len(next.OwnerReferences) > 0 {
		t.Errorf("finalizers %v, owners %v", next.Finalizers, next.OwnerReferences)
	}
}
