// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// viewInterval is how often the view of tasks is changed at most. Whatever comes meanwhile goes with the next change.
	viewInterval = 100 * time.Millisecond
	// taskWaitSeconds is how long one wait for news of tasks lasts when there are none.
	taskWaitSeconds = 20
	// clearTimeout bounds the clearing away of what lies in vCenter.
	clearTimeout = 5 * time.Second
)

// taskStream is what lies in vCenter for one login of tasks: a ListView of those that are waited for, and a collector of
// their own that tells of changes in them.
type taskStream struct {
	*tasks
	client    *vim25.Client
	collector types.ManagedObjectReference
	view      types.ManagedObjectReference
	version   string
	// added yields after the view came to show more.
	added chan struct{}
}

// follow follows the tasks by one login until that or something else fails. told says that vCenter told of any.
func (t *tasks) follow(ctx context.Context, connection *Connection) (told bool, err error) {
	ctx, release := connection.Bind(ctx)
	defer release()
	s := &taskStream{tasks: t, client: connection.Client, added: make(chan struct{}, 1)}
	t.show()
	defer s.clear(ctx)
	if err := s.build(ctx); err != nil {
		return false, err
	}
	both, end := context.WithCancelCause(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() { end(s.wait(both, &told)) })
	end(s.modify(both))
	waiting.Wait()
	return told, context.Cause(both)
}

func (s *taskStream) build(ctx context.Context) error {
	collector, err := methods.CreatePropertyCollector(ctx, s.client, &types.CreatePropertyCollector{
		This: s.client.ServiceContent.PropertyCollector,
	})
	if err != nil {
		return fmt.Errorf("create a property collector for tasks: %w", err)
	}
	s.collector = collector.Returnval
	// Empty, since a task that is gone by now would have the whole call refused.
	view, err := methods.CreateListView(ctx, s.client, &types.CreateListView{This: *s.client.ServiceContent.ViewManager})
	if err != nil {
		return fmt.Errorf("create a view of tasks: %w", err)
	}
	s.view = view.Returnval
	_, err = methods.CreateFilter(ctx, s.client, &types.CreateFilter{
		This: s.collector,
		Spec: types.PropertyFilterSpec{
			PropSet: []types.PropertySpec{{Type: "Task", PathSet: []string{"info"}}},
			ObjectSet: []types.ObjectSpec{{
				Obj: s.view, Skip: types.NewBool(true),
				SelectSet: []types.BaseSelectionSpec{&types.TraversalSpec{Type: "ListView", Path: "view", Skip: types.NewBool(false)}},
			}},
			ReportMissingObjectsInResults: types.NewBool(true),
		},
	})
	if err != nil {
		return fmt.Errorf("follow a view of tasks: %w", err)
	}
	return nil
}

// modify has the view show what is waited for, until ctx ends. What nobody waits for any more goes when something else
// comes: a task that has ended does no harm there.
func (s *taskStream) modify(ctx context.Context) error {
	clock := s.session.config.Clock
	for {
		add, remove := s.difference()
		if len(add) == 0 {
			select {
			case <-s.more:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if pause := viewInterval - clock.Since(s.modified); pause > 0 {
			timer := clock.NewTimer(pause)
			select {
			case <-timer.C():
				continue // with what came meanwhile
			case <-ctx.Done():
				timer.Stop()
				return context.Cause(ctx)
			}
		}
		s.modified = clock.Now()
		s.change(add, remove)
		answer, err := methods.ModifyListView(ctx, s.client, &types.ModifyListView{This: s.view, Add: add, Remove: remove})
		if err != nil {
			return fmt.Errorf("change the view of tasks: %w", err)
		}
		for _, task := range answer.Returnval {
			s.tell(task, taskNews{err: errForgotten})
		}
		s.change(nil, answer.Returnval)
		signal(s.added)
	}
}

// wait tells of changes in what the view shows, until ctx ends. While it shows nothing that is waited for vCenter is not
// asked.
func (s *taskStream) wait(ctx context.Context, told *bool) error {
	for {
		if !s.shows() {
			select {
			case <-s.added:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		updates, err := s.updates(ctx)
		if err != nil {
			return err
		}
		if updates == nil {
			continue
		}
		for _, filter := range updates.FilterSet {
			for _, update := range filter.ObjectSet {
				if err := s.take(update); err != nil {
					return err
				}
				*told = true
			}
		}
		s.version = updates.Version
	}
}

// updates waits for changes, and returns nil when there were none for a while.
func (s *taskStream) updates(ctx context.Context) (*types.UpdateSet, error) {
	limit := taskWaitSeconds*time.Second + s.session.config.CallTimeout
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := methods.WaitForUpdatesEx(call, s.client, &types.WaitForUpdatesEx{
		This: s.collector, Version: s.version,
		Options: &types.WaitOptions{MaxWaitSeconds: types.NewInt32(taskWaitSeconds)},
	})
	switch {
	case err == nil:
		return answer.Returnval, nil
	case call.Err() != nil && ctx.Err() == nil:
		return nil, fmt.Errorf("vCenter neither told of tasks nor failed within %v: %w", limit, failure.Timeout)
	}
	return nil, fmt.Errorf("wait for news of tasks: %w", err)
}

// take tells what came of one task. Its error is that the login is gone.
func (s *taskStream) take(update types.ObjectUpdate) error {
	if update.Kind == types.ObjectUpdateKindLeave {
		s.tell(update.Obj, taskNews{err: errForgotten})
		return nil
	}
	for _, missing := range update.MissingSet {
		switch fault := missing.Fault.Fault.(type) {
		case *types.NotAuthenticated:
			return soap.WrapVimFault(fault)
		case *types.ManagedObjectNotFound:
			s.tell(update.Obj, taskNews{err: errForgotten})
		default:
			s.tell(update.Obj, taskNews{err: Translate(soap.WrapVimFault(fault))})
		}
	}
	for _, change := range update.ChangeSet {
		if info, is := change.Val.(types.TaskInfo); is && change.Name == "info" {
			s.tell(update.Obj, taskNews{info: &info})
		}
	}
	return nil
}

// clear clears away what lies in vCenter, unless that goes with the login.
func (s *taskStream) clear(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, clearTimeout)
	defer cancel()
	// Failing is no harm: vCenter clears away with the login.
	if s.collector.Value != "" {
		_, _ = methods.DestroyPropertyCollector(ctx, s.client, &types.DestroyPropertyCollector{This: s.collector})
	}
	if s.view.Value != "" {
		_, _ = methods.DestroyView(ctx, s.client, &types.DestroyView{This: s.view})
	}
}
