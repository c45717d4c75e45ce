// SPDX-License-Identifier: Apache-2.0

package facts_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/facts"
)

func folderID(value string) facts.ID { return facts.ID{VCenter: "vc", Type: "Folder", Value: value} }

func aMachine() facts.Machine {
	return facts.Machine{
		ID: facts.ID{VCenter: "vc", Type: "VirtualMachine", Value: "vm-1"}, Name: "web", InstanceUUID: "aa-11",
		Folders: []facts.ID{folderID("deep"), folderID("team-a"), folderID("root")},
		Head: &facts.Head{Installation: "here", UID: "AA-11", Sequence: 3, Namespace: "team-a", Name: "web",
			Folder:   folderID("team-a"),
			Deletion: time.Unix(1_700_000_000, 0).UTC()},
		PowerState: facts.PoweredOn, Connected: true, ChangeVersion: "1",
	}
}

func TestMachineDiffers(t *testing.T) {
	head := func(change func(*facts.Head)) func(*facts.Machine) {
		return func(m *facts.Machine) {
			h := *m.Head
			change(&h)
			m.Head = &h
		}
	}
	for name, test := range map[string]struct {
		change func(*facts.Machine)
		want   string
	}{
		"nothing": {func(*facts.Machine) {}, ""},
		"what is live": {func(m *facts.Machine) { m.PowerState, m.ChangeVersion, m.Name = facts.PoweredOff, "2", "other" },
			""},
		"letters of uuid": {func(m *facts.Machine) { m.InstanceUUID = "AA-11" }, ""},
		"time zone":       {head(func(h *facts.Head) { h.Deletion = h.Deletion.In(time.FixedZone("", 3600)) }), ""},
		"uuid":            {func(m *facts.Machine) { m.InstanceUUID = "bb-22" }, "it is another virtual machine now"},
		"unreadable": {func(m *facts.Machine) { m.InstanceUUID, m.Head = "", nil },
			"vCenter does not tell its configuration now"},
		"another vCenter": {func(m *facts.Machine) { m.ID.VCenter = "other" }, "it is another virtual machine now"},
		"template":        {func(m *facts.Machine) { m.Template = true }, "it was made a template, or is none any more"},
		"moved":           {func(m *facts.Machine) { m.Folders = m.Folders[1:] }, "it was moved in vCenter"},
		"moved out":       {func(m *facts.Machine) { m.Folders = nil }, "it was moved in vCenter"},
		"paused":          {func(m *facts.Machine) { m.PauseOption = "True" }, "it was paused, or is so no longer"},
		"record gone":     {func(m *facts.Machine) { m.Head = nil }, "its record was changed"},
		"record broken":   {func(m *facts.Machine) { m.Head, m.HeadError = nil, errors.New("no") }, "its record was changed"},
		"record unproven": {func(m *facts.Machine) { m.Unproven = "no key" }, "its record was changed"},
		"build changed":   {head(func(h *facts.Head) { h.Build = &facts.Build{} }), "its record was changed"},
		"record changed":  {head(func(h *facts.Head) { h.Sequence++ }), "its record was changed"},
		"deletion":        {head(func(h *facts.Head) { h.Deletion = time.Time{} }), "its record was changed"},
	} {
		now := aMachine()
		test.change(&now)
		if got := aMachine().Differs(now); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestMachineCounts(t *testing.T) {
	m := aMachine()
	if !m.Counts("here") || m.Counts("there") || m.Counts("") {
		t.Error("the record counts for another installation, or not for its own")
	}
	m.InstanceUUID = "bb-22"
	if m.Counts("here") || (facts.Machine{}).Counts("") {
		t.Error("the record of another machine counts, or none does")
	}
}

// TestMachineCarriesARecord: what is left to be made of it counts where its own record says so, and that is proven.
func TestMachineCarriesARecord(t *testing.T) {
	build := &facts.Build{Policy: "gold"}
	head := facts.Head{Installation: "here", UID: "aa-11", Build: build}
	others := head
	others.UID = "bb-22"
	type carried struct {
		Counts  bool
		Doubted string
		Build   *facts.Build
	}
	for name, test := range map[string]struct {
		record *facts.Record
		want   carried
	}{
		"none":       {nil, carried{}},
		"its own":    {&facts.Record{Head: head}, carried{true, "", build}},
		"unproven":   {&facts.Record{Head: head, Unproven: "no key"}, carried{false, "no key", nil}},
		"a clone's":  {&facts.Record{Head: others, Unproven: "no key"}, carried{}},
		"another's":  {&facts.Record{Head: others}, carried{}},
		"unreadable": {&facts.Record{Err: errors.New("no")}, carried{}},
	} {
		m := facts.Machine{InstanceUUID: "AA-11", Build: build}
		m.Carry(test.record)
		if diff := cmp.Diff(test.want, carried{m.Counts("here"), m.Doubted("here"), m.Build}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if m.Doubted("there") != "" {
			t.Errorf("%s: another installation doubts it", name)
		}
	}
}

func TestMachineNamespace(t *testing.T) {
	m := aMachine()
	if got := m.Namespace(); got != folderID("team-a") {
		t.Errorf("the namespace is %v", got)
	}
	m.Folders = m.Folders[2:] // in the namespaces folder itself
	if got := m.Namespace(); !got.IsZero() {
		t.Errorf("the namespace of a machine in none is %v", got)
	}
}

func TestMachinePaused(t *testing.T) {
	for name, test := range map[string]struct {
		option string
		head   *facts.Head
		want   bool
	}{
		"nobody":           {"", nil, false},
		"a VI admin":       {"TRUE", nil, true},
		"a user":           {"", &facts.Head{UID: "aa-11", Paused: true}, true},
		"a user, and not":  {"false", &facts.Head{UID: "aa-11", Paused: true}, true},
		"the original's":   {"", &facts.Head{UID: "bb-22", Paused: true}, false},
		"something else":   {"yes", &facts.Head{UID: "aa-11"}, false},
		"an admin, and no": {"true", &facts.Head{UID: "aa-11"}, true},
	} {
		if got := (facts.Machine{InstanceUUID: "AA-11", PauseOption: test.option,
			Head: test.head}).Paused(); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestDiskFile gives machines whose files lie in one folder each its own.
func TestDiskFile(t *testing.T) {
	m := aMachine()
	for _, test := range []struct {
		home, uuid string
		number     int
		want       string
	}{
		{"[nfs] web/", "AA-11", 0, "[nfs] web/web-aa-11.vmdk"},
		{"[nfs] web/", "aa-11", 2, "[nfs] web/web-aa-11_2.vmdk"},
		{"[nfs] web/", "bb-22", 0, "[nfs] web/web-bb-22.vmdk"},
		{"[a store] deep/er/", "aa-11", 0, "[a store] deep/er/er-aa-11.vmdk"},
	} {
		m.Home, m.InstanceUUID = test.home, test.uuid
		if got := m.DiskFile(test.number); got != test.want {
			t.Errorf("disk %d of %s in %s is %s, want %s", test.number, test.uuid, test.home, got, test.want)
		}
	}
}
