// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// recent is how old an event may be to tell of what has just happened, by the clocks of two machines.
	recent = 5 * time.Minute
	// maxEvents bounds what vCenter is asked for, and maxAccount an account's name in bytes.
	maxEvents  = 100
	maxAccount = 256
)

// powerEvents are the types of vCenter's events that tell of a machine's power, each with the state that it leads to.
var powerEvents = map[string]string{
	"VmStartingEvent": facts.PoweredOn, "VmPoweredOnEvent": facts.PoweredOn, "DrsVmPoweredOnEvent": facts.PoweredOn,
	"VmResumingEvent":      facts.PoweredOn,
	"VmGuestShutdownEvent": facts.PoweredOff, "VmStoppingEvent": facts.PoweredOff, "VmPoweredOffEvent": facts.PoweredOff,
	"VmGuestStandbyEvent": facts.Suspended, "VmSuspendingEvent": facts.Suspended, "VmSuspendedEvent": facts.Suspended,
}

// Session carries out calls that read; vcenter.Session does.
type Session interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
}

// History reads in vCenter's events who did something. Its fields are set before use.
type History struct {
	Session Session
	Clock   clock.PassiveClock
}

// Powered names the account that brought a machine to a power state last, by vCenter's events of the last minutes, in
// one call. It is empty where they name none, as when the guest shut itself down.
func (h *History) Powered(ctx context.Context, id facts.ID, state string) (account string, err error) {
	filter := about(id, h.Clock.Now().Add(-recent), slices.Sorted(maps.Keys(powerEvents)))
	err = h.Session.Do(ctx, operation("read the events of", id), func(ctx context.Context, client *vim25.Client) error {
		if client.ServiceContent.EventManager == nil || client.ServiceContent.About.InstanceUuid != id.VCenter {
			return nil
		}
		answer, err := methods.QueryEvents(ctx, client, &types.QueryEvents{This: *client.ServiceContent.EventManager,
			Filter: filter})
		if err == nil {
			account = doer(answer.Returnval, state)
		}
		return err
	})
	return account, err
}

// Configured names the account that changed a machine's configuration last, by vCenter's events of the last minutes, other
// than the one that asks, in two calls. It is empty where they name none.
func (h *History) Configured(ctx context.Context, id facts.ID) (account string, err error) {
	filter := about(id, h.Clock.Now().Add(-recent), []string{"VmReconfiguredEvent"})
	err = h.Session.Do(ctx, operation("read the events of", id), func(ctx context.Context, client *vim25.Client) error {
		if client.ServiceContent.EventManager == nil || client.ServiceContent.About.InstanceUuid != id.VCenter {
			return nil
		}
		own, err := session.NewManager(client).UserSession(ctx)
		if err != nil || own == nil {
			return err
		}
		answer, err := methods.QueryEvents(ctx, client, &types.QueryEvents{This: *client.ServiceContent.EventManager,
			Filter: filter})
		if err == nil {
			account = changer(answer.Returnval, own.UserName)
		}
		return err
	})
	return account, err
}

// changer is who is named by the last of some events, but for one.
func changer(events []types.BaseEvent, but string) string {
	for _, event := range slices.Backward(inOrder(events)) {
		if name := event.GetEvent().UserName; name != "" && !strings.EqualFold(name, but) {
			return printable(name)
		}
	}
	return ""
}

// inOrder are events in the order in which they came to pass.
func inOrder(events []types.BaseEvent) []types.BaseEvent {
	return slices.SortedStableFunc(slices.Values(events), func(a, b types.BaseEvent) int {
		x, y := a.GetEvent(), b.GetEvent()
		return cmp.Or(x.CreatedTime.Compare(y.CreatedTime), cmp.Compare(x.Key, y.Key))
	})
}

// restartEvents are the types of vCenter's events that tell that a machine began anew: by a call, of DRS, of the guest
// itself, or of HA, which restarts it on another host or resets it where its guest does not answer.
var restartEvents = []string{"DrsVmPoweredOnEvent", "VmGuestRebootEvent", "VmResettingEvent", "VmStartingEvent",
	"VmRestartedOnAlternateHostEvent", "com.vmware.vc.ha.VmRestartedByHAEvent",
	"VmDasBeingResetEvent", "VmDasBeingResetWithScreenshotEvent"}

// Now is vCenter's time, and the key of its last event, 0 where it tells none.
func (h *History) Now(ctx context.Context) (now time.Time, event int32, err error) {
	err = h.Session.Do(ctx, "read the time", func(ctx context.Context, client *vim25.Client) error {
		answer, err := methods.GetCurrentTime(ctx, client)
		if err != nil {
			return err
		}
		now = *answer
		event, err = lastEvent(ctx, client)
		return err
	})
	return now, event, err
}

// lastEvent is the key of vCenter's last event, 0 where it tells none. It rises with each.
func lastEvent(ctx context.Context, client *vim25.Client) (int32, error) {
	if client.ServiceContent.EventManager == nil {
		return 0, nil
	}
	var manager mo.EventManager
	err := property.DefaultCollector(client).RetrieveOne(ctx, *client.ServiceContent.EventManager, []string{"latestEvent"},
		&manager)
	if err != nil || manager.LatestEvent == nil {
		return 0, err
	}
	return manager.LatestEvent.GetEvent().Key, nil
}

// Restarted says whether a machine began anew since a time of vCenter's, after an event, by its events. Which of those
// came after is told by their keys, and by their times only where those are not known, or have begun anew.
func (h *History) Restarted(ctx context.Context, id facts.ID, since time.Time, after int32) (restarted bool, err error) {
	err = h.Session.Do(ctx, operation("read the events of", id), func(ctx context.Context, client *vim25.Client) error {
		if client.ServiceContent.EventManager == nil || client.ServiceContent.About.InstanceUuid != id.VCenter {
			return failure.Unavailable
		}
		if last, err := lastEvent(ctx, client); err != nil {
			return err
		} else if last < after {
			after = 0 // as after a restore
		}
		begin := since
		if after > 0 {
			begin = since.Add(-recent)
		}
		answer, err := methods.QueryEvents(ctx, client, &types.QueryEvents{This: *client.ServiceContent.EventManager,
			Filter: about(id, begin, restartEvents)})
		if err == nil {
			restarted = slices.ContainsFunc(answer.Returnval, func(event types.BaseEvent) bool {
				return event.GetEvent().Key > after
			})
		}
		return err
	})
	return restarted, err
}

// about asks for events of some types about one machine, since a time of vCenter's.
func about(id facts.ID, since time.Time, eventTypes []string) types.EventFilterSpec {
	return types.EventFilterSpec{
		Entity: &types.EventFilterSpecByEntity{Entity: refer(id),
			Recursion: types.EventFilterSpecRecursionOptionSelf},
		Time:               &types.EventFilterSpecByTime{BeginTime: &since},
		DisableFullMessage: types.NewBool(true),
		EventTypeId:        eventTypes,
		MaxCount:           maxEvents,
	}
}

// doer is who brought a machine to a power state last: the last one who is named by the events that led to it. Somebody
// may have brought it to another one since.
func doer(events []types.BaseEvent, state string) string {
	leadsTo := func(event types.BaseEvent) string {
		return powerEvents[reflect.Indirect(reflect.ValueOf(event)).Type().Name()]
	}
	events = slices.DeleteFunc(inOrder(events), func(event types.BaseEvent) bool { return leadsTo(event) == "" })
	led := false
	for _, event := range slices.Backward(events) {
		switch {
		case leadsTo(event) != state:
			if led {
				return ""
			}
		case event.GetEvent().UserName != "":
			return printable(event.GetEvent().UserName)
		default:
			led = true
		}
	}
	return ""
}

// printable is a name of somebody else's making as people may be shown it.
func printable(name string) string {
	name = name[:min(len(name), maxAccount)]
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
}
