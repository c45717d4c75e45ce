// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
)

func managed(manager string, operation metav1.ManagedFieldsOperationType, subresource,
	fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, Subresource: subresource,
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}
}

func TestDeclare(t *testing.T) {
	type spec = vmopv1.VirtualMachineSpec
	const on, off, hard = vmopv1.VirtualMachinePowerStateOn, vmopv1.VirtualMachinePowerStateOff,
		vmopv1.VirtualMachinePowerOpModeHard
	live := spec{PowerState: on, GuestID: "ubuntu64Guest", BiosUUID: "b", InstanceUUID: "i"}
	with := func(s spec, f func(*spec)) spec { f(&s); return s }
	for _, test := range []struct {
		name             string
		before           spec
		current, desired spec
		managers         []metav1.ManagedFieldsEntry
		want             spec
	}{
		{"a label alone declares nothing", spec{}, live, live, nil, spec{}},
		{"a changed field", spec{}, live, with(live, func(s *spec) { s.PowerState = off }), nil, spec{PowerState: off}},
		{"a field that vCenter does not know", spec{}, live, with(live, func(s *spec) { s.PowerOffMode = hard }), nil,
			spec{PowerOffMode: hard}},
		{"declared before", spec{PowerState: on}, live, live, nil, spec{PowerState: on}},
		{"emptied", spec{PowerState: on, PowerOffMode: hard}, live, with(live, func(s *spec) { s.PowerState = "" }), nil,
			spec{}},
		{"owned at its live value", spec{}, live, live,
			[]metav1.ManagedFieldsEntry{managed("kubectl", "Apply", "",
				`{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:powerState":{}}}`)}, spec{PowerState: on}},
		{"owned by nobody who asked for it", spec{}, live, live,
			[]metav1.ManagedFieldsEntry{managed(beforeFirstApply, "Update", "",
				`{"f:spec":{"f:powerState":{},"f:guestID":{}}}`)}, spec{}},
		{"owned in the status", spec{}, live, live,
			[]metav1.ManagedFieldsEntry{managed("x", "Update", "status", `{"f:spec":{"f:powerState":{}}}`)}, spec{}},
	} {
		got, err := declare(test.before, &vmopv1.VirtualMachine{Spec: test.current},
			&vmopv1.VirtualMachine{Spec: test.desired, ObjectMeta: metav1.ObjectMeta{ManagedFields: test.managers}})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	if _, err := declare(spec{}, &vmopv1.VirtualMachine{}, &vmopv1.VirtualMachine{ObjectMeta: metav1.ObjectMeta{
		ManagedFields: []metav1.ManagedFieldsEntry{managed("x", "Apply", "", `{`)}}}); err == nil {
		t.Error("managedFields that are no JSON are taken")
	}
}

func TestRecord(t *testing.T) {
	current := &vmopv1.VirtualMachine{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "team-a", UID: "u", Generation: 1,
			Labels: map[string]string{ZoneLabel: "z"}, Finalizers: []string{vmoperator.MachineFinalizer}},
		Status: vmopv1.VirtualMachineStatus{Zone: "z"},
	}
	state := &State{Machine: facts.Machine{InstanceUUID: "u"}}
	next, changed, err := record(state, current, current.DeepCopy())
	if err != nil || changed {
		t.Errorf("what vCenter shows by itself is no change: %+v, %v", next, err)
	}
	// A zone of the user's own choice is kept even where it is the live one.
	state.Metadata = &Metadata{Head: facts.Head{UID: "u", Sequence: 4, Created: true, Namespace: "team-a", Name: "web"},
		Body: Body{Generation: 1, Labels: map[string]string{ZoneLabel: "y"}}}
	next, changed, err = record(state, current, current.DeepCopy())
	want := *state.Metadata
	want.Sequence, want.Labels = 5, map[string]string{ZoneLabel: "z"}
	if err != nil || !changed {
		t.Fatalf("changed %v, error %v", changed, err)
	}
	if diff := cmp.Diff(&want, next, cmp.Comparer(func(a, b []string) bool {
		return len(a) == 0 && len(b) == 0 ||
			cmp.Equal(a, b)
	})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUsersLabels(t *testing.T) {
	zone := map[string]string{ZoneLabel: "z"}
	for name, test := range map[string]struct{ labels, before, want map[string]string }{
		"the user's":           {map[string]string{"a": "b"}, nil, map[string]string{"a": "b"}},
		"the zone that is":     {zone, nil, map[string]string{}},
		"a zone of the user's": {zone, map[string]string{ZoneLabel: "z"}, zone},
		"another zone":         {map[string]string{ZoneLabel: "y"}, nil, map[string]string{ZoneLabel: "y"}},
		"who paused it": {map[string]string{"a": "b", vmopv1.PausedVMLabelKey: "admin"}, nil,
			map[string]string{"a": "b"}},
		"both": {map[string]string{ZoneLabel: "z", vmopv1.PausedVMLabelKey: "admin"}, nil,
			map[string]string{}},
	} {
		if diff := cmp.Diff(test.want, usersLabels(test.labels, test.before, "z")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(zone) != 1 {
		t.Error("the labels that are shown were changed")
	}
}
