// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDriveChanges(t *testing.T) {
	a, b := Drive{Image: "a", File: "a.iso", Connected: true}, Drive{Image: "b", File: "b.iso"}
	guests := Drive{Image: "a", File: "a.iso", Connected: true, GuestControl: true}
	has := func(key int32, file string, connected, start, guest bool) Cdrom {
		return Cdrom{Key: key, File: file, Connected: connected, StartConnected: start, GuestControl: guest}
	}
	one := func(key int32, to *Drive, inserts bool) []DriveChange { return []DriveChange{{key, to, inserts}} }
	for name, test := range map[string]struct {
		wanted         Drives
		has            []Cdrom
		state          string
		want, possible []DriveChange
	}{
		"nothing":          {},
		"as it is to be":   {wanted: Drives{a}, has: []Cdrom{has(1, "a.iso", true, true, false)}, state: PoweredOn},
		"off":              {wanted: Drives{a}, has: []Cdrom{has(1, "a.iso", false, true, false)}, state: PoweredOff},
		"ejected by guest": {wanted: Drives{guests}, has: []Cdrom{has(1, "a.iso", false, true, true)}, state: PoweredOn},
		"in another order": {wanted: Drives{b, a}, state: PoweredOff,
			has: []Cdrom{has(1, "a.iso", false, true, false), has(2, "b.iso", false, false, false)}},
		"disconnected": {Drives{a}, []Cdrom{has(1, "a.iso", false, true, false)}, PoweredOn, one(1, &a, false),
			one(1, &a, false)},
		"not for the start": {Drives{a}, []Cdrom{has(1, "a.iso", false, false, false)}, PoweredOff, one(1, &a, false),
			one(1, &a, false)},
		"by the guest too": {Drives{a}, []Cdrom{has(1, "a.iso", true, true, true)}, PoweredOn, one(1, &a, false),
			one(1, &a, false)},
		"suspended":   {Drives{a}, []Cdrom{has(1, "a.iso", true, true, true)}, Suspended, one(1, &a, false), nil},
		"missing":     {Drives{a}, nil, PoweredOff, one(0, &a, true), one(0, &a, true)},
		"missing, on": {Drives{a}, nil, PoweredOn, one(0, &a, true), []DriveChange{}},
		"another one in it": {Drives{a}, []Cdrom{has(1, "x.iso", false, true, false)}, PoweredOff, one(1, &a, true),
			one(1, &a, true)},
		"too many": {Drives{a}, []Cdrom{has(1, "a.iso", false, true, false), has(2, "a.iso", false, true, false)},
			PoweredOff, one(2, nil, false), one(2, nil, false)},
		"none, on": {Drives{}, []Cdrom{has(1, "a.iso", true, true, true)}, PoweredOn, one(1, nil, false), []DriveChange{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := test.wanted.Changes(test.has, test.state)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.possible, Possible(got, test.state)); diff != "" {
				t.Errorf("possible (-want +got):\n%s", diff)
			}
		})
	}
}
