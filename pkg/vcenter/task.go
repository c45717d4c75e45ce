// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/openpacific/pacific/pkg/failure"
)

// RunTask runs start like Do and waits for the task that it returns, over the end
// of the reign and a lost login too, since tasks outlive both. When ctx ends first,
// the task goes on in vCenter: the error's kind is failure.Timeout and the info
// names the task. It is failure.Unavailable when vCenter has forgotten the task. The info is nil only when no task was
// started.
func (w *Writer) RunTask(ctx context.Context, operation string,
	start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error)) (*types.TaskInfo, error) {
	return w.WatchTask(ctx, operation, start, func(int32) {})
}

// WatchTask is RunTask, and says how far the task is, in per cent, whenever it asks.
func (w *Writer) WatchTask(ctx context.Context, operation string,
	start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error),
	progress func(percent int32)) (*types.TaskInfo, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.Session.config.TaskTimeout)
		defer cancel()
	}
	var ref types.ManagedObjectReference
	err := w.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) (err error) {
		ref, err = start(ctx, client)
		return err
	})
	if err != nil {
		return nil, err
	}

	info := &types.TaskInfo{Task: ref}
	// Asking grows rarer with the age of the task: most are over in an
	// instant or take long.
	pause := wait.Backoff{Duration: 10 * time.Millisecond, Factor: 1.5, Jitter: 0.1, Steps: 100, Cap: time.Second}
	for {
		var object mo.Task
		err := w.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
			object = mo.Task{}
			return property.DefaultCollector(client).RetrieveOne(ctx, ref, []string{"info"}, &object)
		})
		switch {
		case err == nil:
			info = &object.Info
			progress(info.Progress)
		case ctx.Err() == nil && (errors.Is(err, failure.Unavailable) || errors.Is(err, failure.Timeout)):
			// vCenter is away; the task is not.
		case ctx.Err() == nil && errors.Is(err, failure.NotFound):
			// It is the task that is not there, and not what the task is about: vCenter
			// forgets its tasks when it begins anew.
			return info, fmt.Errorf("%s: %w", operation, &translated{
				kind: failure.Unavailable,
				message: fmt.Sprintf("vCenter does not know task %s any more, so what became of it has to be looked up: try again",
					ref.Value),
				cause: errors.New(err.Error()),
			})
		case ctx.Err() == nil:
			return info, fmt.Errorf("wait for task %s: %w", ref.Value, err)
		}
		switch info.State {
		case types.TaskInfoStateSuccess:
			return info, nil
		case types.TaskInfoStateError:
			cause := task.Error{LocalizedMethodFault: info.Error, Description: info.Description}
			return info, fmt.Errorf("%s: %w", operation, Translate(cause))
		}
		timer := w.Session.config.Clock.NewTimer(pause.Step())
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				return info, fmt.Errorf("%s: wait for task %s: %w", operation, ref.Value, ctx.Err())
			}
			return info, fmt.Errorf("%s: %w", operation, &translated{
				kind:    failure.Timeout,
				message: fmt.Sprintf("task %s is not finished yet; vCenter goes on with it", ref.Value),
				cause:   ctx.Err(),
			})
		}
	}
}
