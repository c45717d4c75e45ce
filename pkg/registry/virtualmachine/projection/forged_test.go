// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// forge writes a record without a key.
func forge(t *testing.T, value string, change func(*facts.Head, map[string]any)) string {
	t.Helper()
	forged, err := vcentertest.Forge(value, change)
	if err != nil {
		t.Fatal(err)
	}
	return forged
}

// declares has a body declare a field of the spec.
func declares(body map[string]any, field string, value any) {
	spec, _ := body["spec"].(map[string]any)
	if spec == nil {
		spec = map[string]any{}
	}
	spec[field], body["spec"] = value, spec
}

// forgeries are what somebody writes who may edit a machine's advanced parameters, by the record that is in it.
func forgeries(uid string) map[string]func(*facts.Head, map[string]any) {
	now := time.Now().Truncate(time.Second).UTC()
	return map[string]func(*facts.Head, map[string]any){
		"a Secret": func(head *facts.Head, body map[string]any) {
			head.Created, head.Build = true, &facts.Build{}
			declares(body, "bootstrap", map[string]any{"cloudInit": map[string]any{"rawCloudConfig": map[string]any{"name": "db"}}})
		},
		"a size": func(_ *facts.Head, body map[string]any) {
			declares(body, "className", "huge")
			body["size"] = facts.Size{CPUs: 64, MemoryMB: 1 << 20}
		},
		"a power": func(_ *facts.Head, body map[string]any) { declares(body, "powerState", "PoweredOff") },
		"a restart": func(_ *facts.Head, body map[string]any) {
			declares(body, "powerState", "PoweredOn")
			declares(body, "nextRestartTime", now.Format(time.RFC3339))
		},
		"its destruction": func(head *facts.Head, _ map[string]any) { head.Created, head.Deletion = true, now },
		"its destruction, though others made it": func(head *facts.Head, _ map[string]any) {
			head.ReclaimPolicy, head.Deletion = vsphere.ReclaimDelete, now
		},
		"a disk": func(head *facts.Head, _ map[string]any) {
			head.Created = true
			head.Build = &facts.Build{Policy: "gold", Disks: []facts.BuildDisk{{From: "[other] secret/disk.vmdk", Capacity: 1 << 30}}}
		},
		"another's":  func(head *facts.Head, _ map[string]any) { head.UID, head.Created = uid, true },
		"a sequence": func(head *facts.Head, _ map[string]any) { head.Sequence = 1<<64 - 1 },
	}
}

// TestForgedRecords: what somebody has written into a machine who is not this installation is not acted on, not shown,
// not mixed with what is, and said. What was there counts again when it is put back.
func TestForgedRecords(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	s := serve(t, v)
	s.label("team-b/cache-1", "app", "cache")
	s.label("team-a/web-1", "app", "web")
	vm := a.vm("team-a/web-1")
	authentic := a.option(vm, facts.RecordKey)
	theirs := a.option(a.vm("team-b/cache-1"), facts.RecordKey)
	uid := string(s.get("team-a/web-1").UID)
	before := s.get("team-a/web-1").Spec
	for name, change := range forgeries(uid) {
		value := authentic
		if name == "another's" {
			value = theirs
		}
		forged := forge(t, value, change)
		a.setOption(vm, facts.RecordKey, forged)
		s.until("word of "+name, func() bool {
			return condition(s.get("team-a/web-1"), projection.MetadataInForceCondition) == "False UnprovenMetadata"
		})
		state, shown := state(t, s, "team-a/web-1"), s.get("team-a/web-1")
		if state.Metadata != nil || state.Build != nil || shown.DeletionTimestamp != nil || shown.Labels["app"] != "" ||
			shown.Spec.PowerState != before.PowerState || shown.Spec.Bootstrap != nil || shown.Spec.ClassName != "" ||
			s.projector.Created("team-a", "web-1", shown.UID) || len(s.projector.Withdrawn()) > 0 {
			t.Errorf("%s: it counts: %+v, %+v", name, state.Metadata, shown)
		}
		if err := s.destroy("team-a/web-1"); !errors.Is(err, failure.Forbidden) {
			t.Errorf("%s: destroy: %v", name, err)
		}
		for _, annotation := range []*string{nil, ptr.To("another")} {
			_, err := s.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) {
				vm.Labels = map[string]string{"app": "mine"}
				if annotation != nil {
					vm.Annotations = map[string]string{vsphere.TakeOverAnnotation: *annotation}
				}
			})
			if !errors.Is(err, failure.Forbidden) || !strings.Contains(err.Error(), vsphere.TakeOverAnnotation) {
				t.Errorf("%s: a write: %v", name, err)
			}
		}
		if got := a.option(vm, facts.RecordKey); got != forged {
			t.Errorf("%s: it was written", name)
		}
		a.setOption(vm, facts.RecordKey, authentic)
		s.until("what was there counts again", func() bool { return s.get("team-a/web-1").Labels["app"] == "web" })
		if got := condition(s.get("team-a/web-1"), projection.MetadataCurrentCondition); got != "" {
			t.Errorf("%s: then %s", name, got)
		}
	}
}

// TestTakenOverIsNotMade: somebody who may write to a machine replaces a record that proves nothing. What it said is
// gone with it, and that Pacific made the machine too.
func TestTakenOverIsNotMade(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	s := serve(t, v)
	s.label("team-a/web-1", "app", "web")
	vm := a.vm("team-a/web-1")
	a.setOption(vm, facts.RecordKey, forge(t, a.option(vm, facts.RecordKey), func(head *facts.Head, body map[string]any) {
		head.Created = true
		declares(body, "powerState", "PoweredOff")
	}))
	s.until("word of it", func() bool {
		return condition(s.get("team-a/web-1"), projection.MetadataInForceCondition) == "False UnprovenMetadata"
	})
	out, err := s.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) {
		vm.Annotations = map[string]string{vsphere.TakeOverAnnotation: here}
		vm.Labels = map[string]string{"app": "mine"}
	})
	if err != nil || condition(out, projection.MetadataInForceCondition) != "" || out.Labels["app"] != "mine" {
		t.Fatalf("taken over: %+v, %v", out, err)
	}
	got := keys().Decode(a.option(vm, facts.RecordKey))
	if got.Err != nil || got.Unproven != "" || got.Head.Created || got.Head.Sequence != 2 ||
		strings.Contains(string(got.Body), "PoweredOff") {
		t.Errorf("the record: %+v, %s", got, got.Body)
	}
	if s.projector.Created("team-a", "web-1", out.UID) {
		t.Error("it counts as made")
	}
}

// TestVCenterHasTheLastWordOnProof: an inventory that is behind knows nothing of a forged record. What is found in that
// moment is not acted on, and not proven by a change of its head alone.
func TestVCenterHasTheLastWordOnProof(t *testing.T) {
	for name, change := range map[string]func(*facts.Head, map[string]any){
		"its body": func(_ *facts.Head, body map[string]any) { declares(body, "powerState", "PoweredOff") },
		"its head": func(head *facts.Head, _ map[string]any) { head.Restart.Wanted = "2026-01-02T03:04:05Z" },
	} {
		t.Run(name, func(t *testing.T) {
			v := vcentertest.Run(t, vcentertest.Options{})
			a := newAdmin(t, v)
			s := serve(t, v)
			s.askDeletion("team-a/web-1")
			vm, current := a.vm("team-a/web-1"), s.get("team-a/web-1")
			id, seen := state(t, s, "team-a/web-1").ID, state(t, s, "team-a/web-1").Machine
			s.freeze()
			forged := forge(t, a.option(vm, facts.RecordKey), change)
			a.setOption(vm, facts.RecordKey, forged)
			desired := current.DeepCopy()
			desired.Labels = map[string]string{"app": "mine"}
			still := func(now facts.Machine) error {
				if difference := seen.Differs(now); difference != "" {
					return errors.Join(errors.New(difference), failure.Conflict)
				}
				return nil
			}
			for verb, act := range map[string]func() error{
				"update": func() error { return s.backend.Update(t.Context(), current, desired) },
				"delete": func() error { return s.backend.Delete(t.Context(), current) },
				"resize": func() error { return s.verbs.Resize(t.Context(), id, facts.Size{CPUs: 8, MemoryMB: 4096}, still) },
				"amend": func() error {
					return s.verbs.Amend(t.Context(), id, func(now facts.Machine) (facts.Head, error) { return *now.Head, nil })
				},
			} {
				if err := act(); !errors.Is(err, failure.Conflict) {
					t.Errorf("%s: %v", verb, err)
				}
			}
			if got := a.option(vm, facts.RecordKey); got != forged {
				t.Error("it was written")
			}
			if on, err := vm.PowerState(t.Context()); err != nil || on != "poweredOn" {
				t.Errorf("it is %s, %v", on, err)
			}
		})
	}
}

// TestAnOldRecordWentBack: an authentic record that somebody puts back is what a revert to a snapshot brings.
func TestAnOldRecordWentBack(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	s := serve(t, v)
	s.askDeletion("team-a/web-1")
	vm := a.vm("team-a/web-1")
	old := a.option(vm, facts.RecordKey)
	s.label("team-a/web-1", "app", "web")
	a.setOption(vm, facts.RecordKey, old)
	s.until("word of it", func() bool {
		return condition(s.get("team-a/web-1"), projection.MetadataCurrentCondition) == "False WentBack"
	})
	if err := s.destroy("team-a/web-1"); !errors.Is(err, failure.Forbidden) {
		t.Errorf("destroy: %v", err)
	}
}

// TestAClonesRecordIsNotItsOwn: it is proven, and another machine's.
func TestAClonesRecordIsNotItsOwn(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	s := serve(t, v)
	s.label("team-b/cache-1", "app", "cache")
	a.setOption(a.vm("team-a/web-1"), facts.RecordKey, a.option(a.vm("team-b/cache-1"), facts.RecordKey))
	out := s.label("team-a/web-1", "mine", "yes")
	if out.Labels["app"] != "" || condition(out, projection.MetadataInForceCondition) != "" {
		t.Errorf("%+v", out)
	}
	if got := keys().Decode(a.option(a.vm("team-a/web-1"), facts.RecordKey)); got.Head.UID != string(out.UID) {
		t.Errorf("the record: %+v", got.Head)
	}
}
