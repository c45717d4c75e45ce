// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
)

// abandonTimeout bounds the canceling of a task that nobody waits for any more.
const abandonTimeout = 10 * time.Second

// RunTask runs start like Do and waits for the task that it returns, over the end
// of the reign and a lost login too, since tasks outlive both. When ctx ends first,
// the task goes on in vCenter: the error's kind is failure.Timeout and the info
// names the task. It is failure.Unavailable when vCenter has forgotten the task. The info is nil only when no task was
// started. Session.Run follows all tasks at once; nobody is asked for a single one.
func (w *Writer) RunTask(ctx context.Context, operation string,
	start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error)) (*types.TaskInfo, error) {
	return w.WatchTask(ctx, operation, start, func(int32) {})
}

// WatchTask is RunTask, and says how far the task is, in per cent, when that changes.
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

	return w.Session.tasks.await(ctx, operation, ref, progress)
}

// await waits for a task to end.
func (t *tasks) await(ctx context.Context, operation string, ref types.ManagedObjectReference,
	progress func(percent int32)) (*types.TaskInfo, error) {
	info := &types.TaskInfo{Task: ref}
	wait := t.add(ref)
	defer t.drop(wait)
	for {
		var news taskNews
		select {
		case news = <-wait.told:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return info, fmt.Errorf("%s: wait for task %s: %w", operation, ref.Value, ctx.Err())
			}
			return info, fmt.Errorf("%s: %w", operation, &translated{
				kind:    failure.Timeout,
				message: fmt.Sprintf("task %s is not finished yet; vCenter goes on with it", ref.Value),
				cause:   ctx.Err(),
			})
		}
		switch {
		case errors.Is(news.err, errForgotten):
			// It is the task that is not there, and not what the task is about: vCenter
			// forgets its tasks when it begins anew.
			return info, fmt.Errorf("%s: %w", operation, &translated{
				kind: failure.Unavailable,
				message: fmt.Sprintf("vCenter does not know task %s any more, so what became of it has to be looked up: try again",
					ref.Value),
				cause: news.err,
			})
		case news.err != nil:
			return info, fmt.Errorf("%s: wait for task %s: %w", operation, ref.Value, news.err)
		}
		info = news.info
		progress(info.Progress)
		switch info.State {
		case types.TaskInfoStateSuccess:
			return info, nil
		case types.TaskInfoStateError:
			if info.Error == nil { // as far as this account is told
				return info, fmt.Errorf("%s: task %s has failed, and vCenter does not say why: look at it in the vSphere Client",
					operation, ref.Value)
			}
			cause := task.Error{LocalizedMethodFault: info.Error, Description: info.Description}
			return info, fmt.Errorf("%s: %w", operation, Translate(cause))
		}
	}
}

// Abandon has a task canceled that nobody waits for any more, as far as vCenter can. ctx may have ended.
func Abandon(ctx context.Context, w interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
}, task types.ManagedObjectReference) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer stop()
	_ = w.Do(ctx, "cancel a task", func(ctx context.Context, client *vim25.Client) error {
		_, err := methods.CancelTask(ctx, client, &types.CancelTask{This: task})
		return err
	})
}
