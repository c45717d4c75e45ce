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
	errFolderGone    = errors.New("the namespaces folder was deleted in vCenter")
	errFolderChanged = errors.New("the namespaces folder was renamed or moved in vCenter")
	errSilent        = errors.New("vCenter neither answered nor failed a wait for updates")
)

// stream is what lies in vCenter for one connection of a Collector.
type stream struct {
	*Collector
	connection *vcenter.Connection
	client     *vim25.Client
	folder     types.ManagedObjectReference
	collector  *types.ManagedObjectReference
	views      []types.ManagedObjectReference
	// kinds tells which of Collector.Kinds a filter is for.
	kinds map[types.ManagedObjectReference]int
	// anchorFilter is for the namespaces folder itself, which no view of it
	// holds; for the root folder when no kind needs the other. So no full set
	// is ever empty. anchor are its properties.
	anchorFilter types.ManagedObjectReference
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
	s := &stream{Collector: c, connection: connection, client: connection.Client, kinds: map[types.ManagedObjectReference]int{}, anchor: map[string]any{}}
	defer s.destroy()

	err = s.build(bound)
	for first := true; err == nil; first = false {
		if err = s.turn(bound); err == nil {
			lasted = !first
		}
	}
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
		if err != nil {
			return err
		}
		s.folder = folder
	}
	made, err := methods.CreatePropertyCollector(ctx, s.client, &types.CreatePropertyCollector{This: s.client.ServiceContent.PropertyCollector})
	if err != nil {
		return fmt.Errorf("create a property collector: %w", err)
	}
	s.collector = &made.Returnval

	anchor := root
	if s.folder != (types.ManagedObjectReference{}) {
		anchor = s.folder
	}
	s.anchorFilter, err = s.filter(ctx, types.PropertyFilterSpec{
		PropSet:   []types.PropertySpec{{Type: "Folder", PathSet: []string{"name", "parent"}}},
		ObjectSet: []types.ObjectSpec{{Obj: anchor}},
	})
	if err != nil {
		return fmt.Errorf("follow the folder %s: %w", anchor.Value, err)
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
	made, err := methods.CreateFilter(ctx, s.client, &types.CreateFilter{This: *s.collector, Spec: spec, PartialUpdates: false})
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

// take applies a gathered set.
func (s *stream) take(ctx context.Context, gathered []types.PropertyFilterUpdate, full bool) error {
	s.turns.Lock()
	defer s.turns.Unlock()
	if len(gathered) == 0 {
		clear(s.refreshed)
		return nil
	}
	t := newTurn(s.Kinds, s.paths, full, s.objects)
	var lost error
	for _, filterUpdate := range gathered {
		if filterUpdate.Filter == s.anchorFilter {
			lost = errors.Join(lost, s.anchored(filterUpdate))
			continue
		}
		kind, ok := s.kinds[filterUpdate.Filter]
		if !ok {
			continue
		}
		for _, update := range filterUpdate.ObjectSet {
			if err := s.sayMissing(update.Obj, update.MissingSet); err != nil {
				return err
			}
			t.apply(kind, update)
		}
	}
	if lost != nil && full {
		// The folder vanished while the set was read: what it lacks is not
		// known to be gone.
		return lost
	}
	for ref := range s.refreshed {
		known, ok := s.objects[ref]
		switch {
		case t.drafts[ref] != nil:
			t.drafts[ref].reread = true
		case full && ok:
			t.draft(ref).kinds = known.kinds
			t.drafts[ref].reread = true
		}
	}
	if err := s.reread(ctx, s.client, t); err != nil {
		return err
	}
	s.root, s.vcenter = s.client.ServiceContent.RootFolder, s.client.ServiceContent.About.InstanceUuid
	s.hand(t, s.folder)
	clear(s.refreshed)
	if full {
		s.Metrics.rebuilt()
		s.Logger.Info("Read the inventory", "objects", len(s.objects))
	}
	return lost
}

// anchored says whether the anchor is still what it was when it was found.
func (s *stream) anchored(update types.PropertyFilterUpdate) error {
	if len(update.MissingSet) > 0 {
		return errFolderGone
	}
	for _, folder := range update.ObjectSet {
		if folder.Kind == types.ObjectUpdateKindLeave {
			return errFolderGone
		}
		for _, change := range folder.ChangeSet {
			before, ok := s.anchor[change.Name]
			if ok && !equalValue(before, change.Val) {
				return errFolderChanged
			}
			s.anchor[change.Name] = change.Val
		}
	}
	return nil
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
			c.Logger.Info("vCenter does not show a property, so it counts as absent", "type", ref.Type, "object", ref.Value, "path", m.Path, "reason", fmt.Sprintf("%T", m.Fault.Fault))
		}
	}
	return nil
}

// reread reads again the drafts that need it. Those that are gone leave. The
// caller holds turns.
func (c *Collector) reread(ctx context.Context, client *vim25.Client, t *turn) error {
	for kind := range c.Kinds {
		var refs []types.ManagedObjectReference
		for _, ref := range t.order {
			if d := t.drafts[ref]; d.reread && d.kinds&(1<<kind) != 0 {
				refs = append(refs, ref)
			}
		}
		for batch := range slices.Chunk(refs, rereadBatch) {
			found := map[types.ManagedObjectReference]bool{}
			contents, err := retrieve(ctx, client, c.Kinds[kind], batch)
			if err != nil {
				return fmt.Errorf("read %d objects of the kind %s again: %w", len(batch), c.Kinds[kind].Type, err)
			}
			for _, content := range contents {
				if err := c.sayMissing(content.Obj, content.MissingSet); err != nil {
					return err
				}
				found[content.Obj] = true
				t.replace(kind, content)
			}
			for _, ref := range batch {
				if !found[ref] {
					t.drafts[ref].kinds = 0
				}
			}
		}
	}
	return nil
}

// retrieve reads the properties of a kind. Objects that are gone are left out.
func retrieve(ctx context.Context, client *vim25.Client, kind Kind, refs []types.ManagedObjectReference) ([]types.ObjectContent, error) {
	objects := make([]types.ObjectSpec, len(refs))
	for i, ref := range refs {
		objects[i].Obj = ref
	}
	answer, err := methods.RetrievePropertiesEx(ctx, client, &types.RetrievePropertiesEx{
		This: client.ServiceContent.PropertyCollector,
		SpecSet: []types.PropertyFilterSpec{{
			PropSet:                       []types.PropertySpec{{Type: kind.Type, PathSet: kind.Paths}},
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
	return slices.DeleteFunc(contents, isGone), nil
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
func parentOf(ctx context.Context, client *vim25.Client, ref types.ManagedObjectReference) (*types.ManagedObjectReference, error) {
	contents, err := retrieve(ctx, client, Kind{Type: ref.Type, Paths: []string{"parent"}}, []types.ManagedObjectReference{ref})
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
