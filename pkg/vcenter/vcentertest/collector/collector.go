// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"strconv"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// pageSize is vCenter's own limit of object updates in one set.
	pageSize = 100
	// settle lets changes that belong together arrive together.
	settle = 4 * time.Millisecond
	// sessionCheck is how often a wait looks whether its session still lives.
	sessionCheck = 25 * time.Millisecond
)

// propertyCollector replaces the simulator's: it sends what changed and nothing
// else. The simulator makes one per session by reflection, so its zero value is
// ready to use.
type propertyCollector struct {
	simulator.PropertyCollector

	mu      sync.Mutex
	filters []*propertyFilter
	waiting chan struct{} // closed to end the wait under way
	version int
	last    *types.UpdateSet // what was answered with version
	queue   []queuedUpdate
	pages   map[string]page // of what was retrieved, by token
}

type queuedUpdate struct {
	filter types.ManagedObjectReference
	update types.ObjectUpdate
}

// CreatePropertyCollector makes another collector in the session.
func (c *propertyCollector) CreatePropertyCollector(ctx *simulator.Context,
	_ *types.CreatePropertyCollector) soap.HasFault {
	made := new(propertyCollector)
	made.Self.Type = "PropertyCollector"
	return &methods.CreatePropertyCollectorBody{Res: &types.CreatePropertyCollectorResponse{
		Returnval: ctx.Session.Put(made).Reference(),
	}}
}

// DestroyPropertyCollector ends the wait under way and lets the collector go.
func (c *propertyCollector) DestroyPropertyCollector(ctx *simulator.Context,
	req *types.DestroyPropertyCollector) soap.HasFault {
	c.cancel()
	c.mu.Lock()
	for _, filter := range c.filters {
		ctx.Session.Remove(ctx, filter.Self)
	}
	c.filters = nil
	c.mu.Unlock()
	ctx.Session.Remove(ctx, req.This)
	return &methods.DestroyPropertyCollectorBody{Res: &types.DestroyPropertyCollectorResponse{}}
}

// CreateFilter adds a filter; its objects are sent by the next wait.
func (c *propertyCollector) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	body := &methods.CreateFilterBody{}
	for _, set := range req.Spec.PropSet {
		for _, path := range set.PathSet {
			if !validPath(set.Type, path) {
				body.Fault_ = simulator.Fault("", &types.InvalidProperty{Name: path})
				return body
			}
		}
	}
	if fault := trackerOf(ctx).denied(ctx, []types.PropertyFilterSpec{req.Spec}); fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	for _, set := range req.Spec.ObjectSet {
		if ctx.Session.Get(set.Obj) == nil {
			body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: set.Obj})
			return body
		}
	}
	filter := &propertyFilter{collector: c}
	filter.Spec, filter.PartialUpdates = req.Spec, req.PartialUpdates
	c.mu.Lock()
	ctx.Session.Put(filter)
	c.filters = append(c.filters, filter)
	c.mu.Unlock()
	trackerOf(ctx).Wake()
	body.Res = &types.CreateFilterResponse{Returnval: filter.Self}
	return body
}

func (c *propertyCollector) removeFilter(filter *propertyFilter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.filters {
		if c.filters[i] == filter {
			c.filters = append(c.filters[:i], c.filters[i+1:]...)
			return
		}
	}
}

func (c *propertyCollector) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting != nil {
		close(c.waiting)
		c.waiting = nil
	}
}

// CancelWaitForUpdates ends the wait under way with RequestCanceled.
func (c *propertyCollector) CancelWaitForUpdates(_ *simulator.Context, _ *types.CancelWaitForUpdates) soap.HasFault {
	c.cancel()
	return &methods.CancelWaitForUpdatesBody{Res: new(types.CancelWaitForUpdatesResponse)}
}

// WaitForUpdatesEx answers at once when the version is empty, and else when
// something has changed since the version. One collector has one wait: a second
// one ends the first.
func (c *propertyCollector) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	body := &methods.WaitForUpdatesExBody{}
	page, once := pageSize, false
	var deadline <-chan time.Time
	if options := req.Options; options != nil {
		if n := int(options.MaxObjectUpdates); n > 0 && n < page {
			page = n
		}
		if seconds := options.MaxWaitSeconds; seconds != nil && *seconds >= 0 {
			once = *seconds == 0
			timer := time.NewTimer(time.Duration(*seconds) * time.Second)
			defer timer.Stop()
			deadline = timer.C
		}
	}
	c.cancel()
	cancelled := make(chan struct{})
	c.mu.Lock()
	c.waiting = cancelled
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		if c.waiting == cancelled {
			c.waiting = nil
		}
		c.mu.Unlock()
	}()

	t := trackerOf(ctx)
	ticker := time.NewTicker(sessionCheck)
	defer ticker.Stop()
	logged := sessionLives(ctx) // a client in the simulator's own process is never listed
	for first := true; ; first = false {
		changed := t.wait()
		if !first {
			time.Sleep(settle)
		}
		if logged && !sessionLives(ctx) {
			body.Fault_ = notAuthenticated(req.This)
			return body
		}
		set, fault := c.updates(ctx, t, req.Version, page)
		if fault != nil {
			body.Fault_ = simulator.Fault("", fault)
			return body
		}
		if set != nil || once {
			body.Res = &types.WaitForUpdatesExResponse{Returnval: set}
			return body
		}
		switch park(ctx, t, changed, ticker.C, cancelled, deadline, logged) {
		case sessionEnded:
			body.Fault_ = notAuthenticated(req.This)
			return body
		case waitCancelled:
			body.Fault_ = simulator.Fault("", new(types.RequestCanceled))
			return body
		case waitOver:
			body.Res = &types.WaitForUpdatesExResponse{}
			return body
		}
	}
}

// Why a wait stops waiting.
type wakeReason int

const (
	somethingChanged wakeReason = iota
	sessionEnded
	waitCancelled
	waitOver
)

func park(ctx *simulator.Context, t *Tracker, changed <-chan struct{}, tick <-chan time.Time, cancelled <-chan struct{},
	deadline <-chan time.Time, logged bool) wakeReason {
	defer t.parked()()
	for {
		select {
		case <-changed:
			return somethingChanged
		case <-tick:
			if logged && !sessionLives(ctx) {
				return sessionEnded
			}
		case <-cancelled:
			return waitCancelled
		case <-deadline:
			return waitOver
		}
	}
}

// WaitForUpdates is the deprecated form, without options.
func (c *propertyCollector) WaitForUpdates(ctx *simulator.Context, req *types.WaitForUpdates) soap.HasFault {
	body := &methods.WaitForUpdatesBody{}
	res := c.WaitForUpdatesEx(ctx, &types.WaitForUpdatesEx{This: req.This, Version: req.Version})
	if res.Fault() != nil {
		body.Fault_ = res.Fault()
		return body
	}
	body.Res = &types.WaitForUpdatesResponse{Returnval: *res.(*methods.WaitForUpdatesExBody).Res.Returnval}
	return body
}

func sessionLives(ctx *simulator.Context) bool {
	manager := ctx.Map.SessionManager()
	res := manager.SessionIsActive(ctx, &types.SessionIsActive{SessionID: ctx.Session.Key, UserName: ctx.Session.UserName})
	return res.(*methods.SessionIsActiveBody).Res.Returnval
}

func notAuthenticated(ref types.ManagedObjectReference) *soap.Fault {
	return simulator.Fault("The session is not authenticated.", &types.NotAuthenticated{
		NoPermission: types.NoPermission{Object: &ref, PrivilegeId: "System.View"},
	})
}

// updates is the next page for a client that has seen version, or nil when there
// is nothing to tell.
func (c *propertyCollector) updates(ctx *simulator.Context, t *Tracker, version string,
	page int) (*types.UpdateSet, types.BaseMethodFault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch version {
	case "":
		c.queue, c.last = nil, nil
		for _, filter := range c.filters {
			filter.forget()
		}
	case strconv.Itoa(c.version):
		c.last = nil
	case strconv.Itoa(c.version - 1):
		if c.last == nil {
			return nil, new(types.InvalidCollectorVersion)
		}
		return c.last, nil // the answer did not reach the client
	default:
		return nil, new(types.InvalidCollectorVersion)
	}

	if len(c.queue) == 0 {
		for _, filter := range c.filters {
			updates, fault := filter.changes(ctx, t)
			if fault != nil {
				return nil, fault
			}
			for _, update := range updates {
				c.queue = append(c.queue, queuedUpdate{filter: filter.Self, update: update})
			}
		}
	}
	if len(c.queue) == 0 && version != "" {
		return nil, nil
	}

	n := min(page, len(c.queue))
	set := &types.UpdateSet{}
	for _, q := range c.queue[:n] {
		if last := len(set.FilterSet) - 1; last >= 0 && set.FilterSet[last].Filter == q.filter {
			set.FilterSet[last].ObjectSet = append(set.FilterSet[last].ObjectSet, q.update)
			continue
		}
		set.FilterSet = append(set.FilterSet, types.PropertyFilterUpdate{Filter: q.filter,
			ObjectSet: []types.ObjectUpdate{q.update}})
	}
	c.queue = c.queue[n:]
	if len(c.queue) > 0 {
		set.Truncated = types.NewBool(true)
	}
	c.version++
	set.Version = strconv.Itoa(c.version)
	if version != "" {
		c.last = set
	}
	return set, nil
}
