// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// driven are the CD-ROM drives that a machine is to have, and has.
type driven struct {
	wanted *facts.Drives
	has    []facts.Cdrom
	keeps  bool // whatever they are made
}

func (w *world) PermitsDisc(_ *vmopv1.VirtualMachine, _, file string) error {
	_, err := w.Origin(nil, file)
	return err
}

func (w *world) SetDrives(_ context.Context, id facts.ID, drives facts.Drives, still func(facts.Machine) error,
	permits func(facts.Drive) error) error {
	w.lock.Lock()
	now, state := w.drives[id.Value], live[w.machines[id.Value].Status.PowerState]
	w.lock.Unlock()
	var err error
	for _, change := range facts.Possible(drives.Changes(now.has, state), state) {
		if change.Inserts && err == nil {
			err = permits(*change.To)
		}
	}
	if err == nil {
		err = w.do("change the drives", id, still, "")
	}
	if err != nil || now.keeps {
		return err
	}
	now.has = nil
	for i, drive := range drives {
		now.has = append(now.has, facts.Cdrom{Key: int32(i + 1), File: drive.File, StartConnected: drive.Connected,
			Connected: drive.Connected && state == facts.PoweredOn, GuestControl: drive.GuestControl})
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.drives[id.Value] = now
	return nil
}

func TestDrives(t *testing.T) {
	a := facts.Drive{Image: "vmi-1", File: "a.iso", Connected: true}
	cut := facts.Drive{Image: "vmi-1", File: "a.iso"}
	hasA := func(connected, start bool) []facts.Cdrom {
		return []facts.Cdrom{{Key: 1, File: "a.iso", Connected: connected, StartConnected: start}}
	}
	other := []facts.Cdrom{{Key: 1, File: "b.iso", StartConnected: true}}
	for name, test := range map[string]struct {
		spec, status vmopv1.VirtualMachinePowerState
		drives       driven
		forbidden    string
		fail         error
		paused       bool
		passes       int
		want         []string
		condition    string
		err          bool
	}{
		"as declared":     {spec: on, status: on, drives: driven{wanted: &facts.Drives{a}, has: hasA(true, true)}},
		"nobody declared": {spec: on, status: on, drives: driven{has: hasA(true, true)}},
		"before it is powered on": {spec: on, status: off, drives: driven{wanted: &facts.Drives{a}},
			want: []string{"change the drives", "power on"}},
		"another disc, off": {spec: off, status: off, drives: driven{wanted: &facts.Drives{a}, has: other},
			want: []string{"change the drives"}},
		"another disc, on": {spec: on, status: on, drives: driven{wanted: &facts.Drives{a}, has: other}},
		"none, off": {spec: off, status: off, drives: driven{wanted: &facts.Drives{}, has: other},
			want: []string{"change the drives"}},
		"to be disconnected, on": {spec: on, status: on, drives: driven{wanted: &facts.Drives{cut}, has: hasA(true, true)},
			want: []string{"change the drives"}},
		"put back": {spec: on, status: on, drives: driven{wanted: &facts.Drives{a}, has: hasA(false, true)},
			want: []string{"change the drives"}},
		"paused": {spec: on, status: on, drives: driven{wanted: &facts.Drives{a}, has: hasA(false, true)}, paused: true},
		"a disc that it may not have": {spec: on, status: off, drives: driven{wanted: &facts.Drives{a}}, forbidden: "a.iso",
			condition: vmopv1.VirtualMachineHardwareCDROMMismatchReason, err: true},
		"what it has, it may disconnect": {spec: on, status: on, forbidden: "a.iso",
			drives: driven{wanted: &facts.Drives{cut}, has: hasA(true, true)}, want: []string{"change the drives"}},
		"refused, so that it does not start from nothing": {spec: on, status: off, drives: driven{wanted: &facts.Drives{a}},
			fail: failure.Invalid, condition: vmopv1.VirtualMachineHardwareCDROMMismatchReason, err: true},
		"refused, and has its disc": {spec: on, status: off, fail: failure.Invalid, err: true,
			drives: driven{wanted: &facts.Drives{cut}, has: hasA(false, true)},
			want:   []string{"power on"}, condition: vmopv1.VirtualMachineHardwareCDROMMismatchReason},
		"undone each time": {spec: off, status: off, drives: driven{wanted: &facts.Drives{a}, keeps: true}, passes: 3,
			want: []string{"change the drives"}, condition: reasonKept},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{drives: map[string]driven{"vm": test.drives}, failVerb: map[string]error{"change the drives": test.fail},
				paused: map[string]bool{"vm": test.paused}}
			w.forbidden = test.forbidden
			c := alone(w, machine("vm", test.spec, test.status, nil))
			for range max(1, test.passes) {
				m, _ := w.Find("team-a", "vm")
				if _, err := c.sync(t.Context(), m); (err != nil) != test.err {
					t.Errorf("%v", err)
				}
			}
			acts, _, _ := w.read()
			if diff := cmp.Diff(test.want, verbs(acts)); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
			if got := w.conditions["vm"].Reason; got != test.condition {
				t.Errorf("condition %q, want %q", got, test.condition)
			}
		})
	}
}
