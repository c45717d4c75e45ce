// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	// pageSize is how many objects vCenter may put into one answer; its own
	// policy may say less.
	pageSize = 1000
	// rereadBatch is how many objects are read again with one call.
	rereadBatch = 200
)

var (
	errNoFullSet     = errors.New("vCenter gave no full set")
	errFolderGone    = errors.New("the namespaces folder is gone from vCenter, or the account may no longer see it")
	errFolderChanged = errors.New("the namespaces folder was renamed or moved in vCenter")
	errShifted       = errors.New("what the account may see in vCenter changed while the inventory was read")
	errSilent        = errors.New("vCenter neither answered nor failed a wait for updates")
)

// stream is what lies in vCenter for one connection of a Collector.
type stream struct {
	*Collector
	connection *vcenter.Connection
	client     *vim25.Client
	folder     types.ManagedObjectReference
	children   map[types.ManagedObjectReference]bool // of folder, before anything was followed
	collector  *types.ManagedObjectReference
	views      []types.ManagedObjectReference
	// kinds tells which of Collector.Kinds a filter is for.
	kinds map[types.ManagedObjectReference]int
	// anchorFilter is for the namespaces folder itself, which no view of it
	// holds; for the root folder when no kind needs the other. So no full set
	// is ever empty. anchor are its properties.
	anchorFilter types.ManagedObjectReference
	anchorRef    types.ManagedObjectReference
	anchor       map[string]any
	version      string
}

// follow builds a stream and follows it until it is lost. lasted says that it
// got as far as waiting for changes.
func (c *Collector) follow(ctx context.Context) (lasted bool, err error) {
	connection, err := c.Session.Connect(ctx)
	if err != nil {
		return false, err
	}
	bound, release := connection.Bind(ctx)
	defer release()
	s := &stream{Collector: c, connection: connection, client: connection.Client,
		kinds: map[types.ManagedObjectReference]int{}, anchor: map[string]any{}}
	defer s.destroy()

	err = s.build(bound)
	for first := true; err == nil; first = false {
		if err = s.turn(bound); err == nil {
			lasted = !first
		}
	}
	c.turns.Lock()
	c.lost = true
	c.turns.Unlock()
	if cause := context.Cause(bound); cause != nil {
		// The login's end says more than the call that it broke off.
		err = cause
	}
	connection.Report(err)
	return lasted, err
}

// build makes the collector, the views and the filters.
func (s *stream) build(ctx context.Context) error {
	root := s.client.ServiceContent.RootFolder
	if slices.ContainsFunc(s.Kinds, func(kind Kind) bool { return kind.Root == RootNamespaces }) {
		folder, err := findFolder(ctx, s.client, s.NamespacesFolder)
		if err == nil {
			err = s.sameFolder(ctx, folder)
		}
		if err != nil {
			return err
		}
		s.folder = folder
		if s.children, err = s.listed(ctx); err != nil {
			return err
		}
		if err = s.remember(ctx); err != nil {
			return err
		}
	}
	made, err := methods.CreatePropertyCollector(ctx, s.client, &types.CreatePropertyCollector{This: s.client.ServiceContent.PropertyCollector})
	if err != nil {
		return fmt.Errorf("create a property collector: %w", err)
	}
	s.collector = &made.Returnval

	s.anchorRef = root
	if s.folder != (types.ManagedObjectReference{}) {
		s.anchorRef = s.folder
	}
	s.anchorFilter, err = s.filter(ctx, types.PropertyFilterSpec{
		PropSet:   []types.PropertySpec{{Type: "Folder", PathSet: []string{"name", "parent"}}},
		ObjectSet: []types.ObjectSpec{{Obj: s.anchorRef}},
	})
	if err != nil {
		return fmt.Errorf("follow the folder %s: %w", s.anchorRef.Value, err)
	}
	for i, kind := range s.Kinds {
		container := root
		if kind.Root == RootNamespaces {
			container = s.folder
		}
		view, err := methods.CreateContainerView(ctx, s.client, &types.CreateContainerView{
			This: *s.client.ServiceContent.ViewManager, Container: container, Type: []string{kind.Type}, Recursive: true,
		})
		if err != nil {
			return fmt.Errorf("create a view of the kind %s: %w", kind.Type, err)
		}
		s.views = append(s.views, view.Returnval)
		filter, err := s.filter(ctx, types.PropertyFilterSpec{
			PropSet: []types.PropertySpec{{Type: kind.Type, PathSet: kind.Paths}},
			ObjectSet: []types.ObjectSpec{{
				Obj:       view.Returnval,
				Skip:      types.NewBool(true),
				SelectSet: []types.BaseSelectionSpec{&types.TraversalSpec{Type: "ContainerView", Path: "view", Skip: types.NewBool(false)}},
			}},
		})
		if err != nil {
			return fmt.Errorf("follow the kind %s: %w", kind.Type, err)
		}
		s.kinds[filter] = i
	}
	return nil
}

func (s *stream) filter(ctx context.Context, spec types.PropertyFilterSpec) (types.ManagedObjectReference, error) {
	made, err := methods.CreateFilter(ctx, s.client, &types.CreateFilter{This: *s.collector, Spec: spec,
		PartialUpdates: false})
	if err != nil {
		return types.ManagedObjectReference{}, err
	}
	return made.Returnval, nil
}

// turn waits for one set, gathers all of it and applies it. The first set is
// the full one.
func (s *stream) turn(ctx context.Context) error {
	full := s.version == ""
	var gathered []types.PropertyFilterUpdate
	version := s.version
	// What is sure to come at once is not waited for.
	set, err := s.wait(ctx, version, full)
	for err == nil && set != nil {
		gathered = append(gathered, set.FilterSet...)
		version = set.Version
		if set.Truncated == nil || !*set.Truncated {
			break
		}
		set, err = s.wait(ctx, version, true)
	}
	if err != nil {
		return err
	}
	if full && len(gathered) == 0 {
		return errNoFullSet
	}
	if err := s.take(ctx, gathered, full); err != nil {
		return err
	}
	s.version = version
	s.turned()
	return nil
}

func (s *stream) wait(ctx context.Context, version string, now bool) (*types.UpdateSet, error) {
	longest := s.MaxWait
	if longest <= 0 {
		longest = defaultMaxWait
	}
	grace := s.Grace
	if grace <= 0 {
		grace = defaultGrace
	}
	seconds := max(1, int32(longest/time.Second))
	if now {
		seconds = 0
	}
	limit := time.Duration(seconds)*time.Second + grace
	if now {
		// A large inventory takes its time.
		limit += time.Minute
	}
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := methods.WaitForUpdatesEx(call, s.client, &types.WaitForUpdatesEx{
		This: *s.collector, Version: version,
		Options: &types.WaitOptions{MaxWaitSeconds: &seconds, MaxObjectUpdates: pageSize},
	})
	if err != nil {
		if call.Err() != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("%w within %v: %w", errSilent, limit, failure.Timeout)
		}
		return nil, fmt.Errorf("wait for updates: %w", err)
	}
	return answer.Returnval, nil
}

// sayMissing logs, once per type, path and fault, which properties vCenter
// keeps from us. It returns an error when that is all of them, for lack of a
// login.
func (c *Collector) sayMissing(ref types.ManagedObjectReference, missing []types.MissingProperty) error {
	for _, m := range missing {
		if _, ok := m.Fault.Fault.(*types.NotAuthenticated); ok {
			return soap.WrapVimFault(m.Fault.Fault)
		}
		key := fmt.Sprintf("%s %s %T", ref.Type, m.Path, m.Fault.Fault)
		if !c.missing[key] {
			c.missing[key] = true
			c.Logger.Info("vCenter does not show a property, so it counts as absent", "type", ref.Type, "object", ref.Value,
				"path", m.Path, "reason", fmt.Sprintf("%T", m.Fault.Fault))
		}
	}
	return nil
}

// retrieve reads properties of objects. Of one that is gone it says that alone.
func retrieve(ctx context.Context, client *vim25.Client, refs []types.ManagedObjectReference,
	properties ...types.PropertySpec) ([]types.ObjectContent, error) {
	objects := make([]types.ObjectSpec, len(refs))
	for i, ref := range refs {
		objects[i].Obj = ref
	}
	answer, err := methods.RetrievePropertiesEx(ctx, client, &types.RetrievePropertiesEx{
		This: client.ServiceContent.PropertyCollector,
		SpecSet: []types.PropertyFilterSpec{{
			PropSet:                       properties,
			ObjectSet:                     objects,
			ReportMissingObjectsInResults: types.NewBool(true),
		}},
	})
	if err != nil || answer.Returnval == nil {
		return nil, err
	}
	contents, token := answer.Returnval.Objects, answer.Returnval.Token
	for token != "" {
		more, err := methods.ContinueRetrievePropertiesEx(ctx, client, &types.ContinueRetrievePropertiesEx{
			This: client.ServiceContent.PropertyCollector, Token: token,
		})
		if err != nil {
			return nil, err
		}
		contents, token = append(contents, more.Returnval.Objects...), more.Returnval.Token
	}
	return contents, nil
}

// isGone says that what was read of an object is only that it does not exist.
func isGone(content types.ObjectContent) bool {
	return slices.ContainsFunc(content.MissingSet, func(m types.MissingProperty) bool {
		_, gone := m.Fault.Fault.(*types.ManagedObjectNotFound)
		return gone
	})
}

// parentOf returns the parent of an entity, nil for one that has none or that
// the account may not see.
func parentOf(ctx context.Context, client *vim25.Client,
	ref types.ManagedObjectReference) (*types.ManagedObjectReference, error) {
	contents, err := retrieve(ctx, client, []types.ManagedObjectReference{ref},
		types.PropertySpec{Type: ref.Type, PathSet: []string{"parent"}})
	if err != nil {
		return nil, err
	}
	for _, content := range contents {
		for _, property := range content.PropSet {
			if parent, ok := property.Val.(types.ManagedObjectReference); ok {
				return &parent, nil
			}
		}
	}
	return nil, nil
}

// destroy clears away what lies in vCenter. With the login gone that happened
// already.
func (s *stream) destroy() {
	if s.connection.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), destroyTimeout)
	defer cancel()
	// Failing is no harm: vCenter clears away with the login.
	if s.collector != nil {
		_, _ = methods.DestroyPropertyCollector(ctx, s.client, &types.DestroyPropertyCollector{This: *s.collector})
	}
	for _, view := range s.views {
		_, _ = methods.DestroyView(ctx, s.client, &types.DestroyView{This: view})
	}
}
