// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
)

// by is what an event has of who did it, at a second.
func by(user string, second int64, key int32) types.VmEvent {
	return types.VmEvent{Event: types.Event{UserName: user, Key: key, CreatedTime: time.Unix(second, 0)}}
}

func TestDoer(t *testing.T) {
	off := func(user string, second int64) types.BaseEvent {
		return &types.VmPoweredOffEvent{VmEvent: by(user, second, 0)}
	}
	on := func(user string, second int64) types.BaseEvent {
		return &types.VmPoweredOnEvent{VmEvent: by(user, second, 0)}
	}
	for name, test := range map[string]struct {
		events []types.BaseEvent
		want   string
	}{
		"nobody did anything": {nil, ""},
		"somebody did":        {[]types.BaseEvent{off("alice", 1)}, "alice"},
		"the latest counts":   {[]types.BaseEvent{off("bob", 2), off("alice", 1)}, "bob"},
		"in one second the keys decide": {[]types.BaseEvent{
			&types.VmStoppingEvent{VmEvent: by("bob", 1, 2)}, &types.VmPoweredOffEvent{VmEvent: by("alice", 1, 1)}}, "bob"},
		"it has been brought back since": {[]types.BaseEvent{off("alice", 1), on("pacific", 2)}, "alice"},
		"the guest was asked to, and vCenter saw it": {[]types.BaseEvent{
			&types.VmGuestShutdownEvent{VmEvent: by("alice", 1, 1)}, off("", 2)}, "alice"},
		"the guest did it by itself": {[]types.BaseEvent{off("alice", 1), on("pacific", 2), off("", 3)}, ""},
		"and was brought back": {[]types.BaseEvent{off("alice", 1), on("pacific", 2), off("", 3),
			on("pacific", 4)}, ""},
		"other events": {[]types.BaseEvent{&types.VmReconfiguredEvent{VmEvent: by("bob", 2, 0)},
			off("alice", 1)}, "alice"},
		"a name of many words": {[]types.BaseEvent{off("al\nice"+strings.Repeat("x", 1000), 1)},
			"alice" + strings.Repeat("x", 250)},
	} {
		if got := doer(test.events, facts.PoweredOff); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestChanger(t *testing.T) {
	changed := func(user string, second int64) types.BaseEvent {
		return &types.VmReconfiguredEvent{VmEvent: by(user, second, 0)}
	}
	for name, test := range map[string]struct {
		events []types.BaseEvent
		want   string
	}{
		"nobody":                       {nil, ""},
		"somebody":                     {[]types.BaseEvent{changed("alice", 1)}, "alice"},
		"it has been put back since":   {[]types.BaseEvent{changed(`LAB\PACIFIC`, 2), changed("alice", 1)}, "alice"},
		"and by somebody else again":   {[]types.BaseEvent{changed("bob", 3), changed(`LAB\pacific`, 2), changed("alice", 1)}, "bob"},
		"it was only written here":     {[]types.BaseEvent{changed(`LAB\pacific`, 2)}, ""},
		"vCenter did that by itself":   {[]types.BaseEvent{changed("", 2)}, ""},
		"a name that is not printable": {[]types.BaseEvent{changed("al\nice", 2)}, "alice"},
	} {
		if got := changer(test.events, `LAB\pacific`); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
