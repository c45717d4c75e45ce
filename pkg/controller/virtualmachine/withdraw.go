// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/openpacific/pacific/pkg/controller"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// withdrawals takes deletions that are over out of the machines' records, so that none of them fires when its machine
// comes back to where it was asked for.
type withdrawals struct{ *Controller }

func (w withdrawals) run(ctx context.Context, workers int) {
	queue := controller.NewQueue("virtualmachine-withdrawals", 200*time.Millisecond, 5*time.Minute)
	var running sync.WaitGroup
	running.Go(func() { w.follow(ctx, queue) })
	controller.Worker{
		Timeout: syncTimeout,
		Failed: func(key string, err error) {
			w.Logger.Error(err, "Cannot take a deletion that is over out of a virtual machine's record, trying again",
				"virtualMachine", key)
		},
		Sync: w.sync,
	}.Work(ctx, queue, workers)
	running.Wait()
}

// errOver says that there is no deletion in a record.
var errOver = fmt.Errorf("no deletion is asked for in it: %w", failure.Conflict)

// follow queues what is to be withdrawn when there is something new, and now and then, so that nothing depends on one
// notice.
func (w withdrawals) follow(ctx context.Context, queue controller.Queue) {
	for {
		for id := range w.Machines.Withdrawn() {
			queue.Add(id.String())
		}
		timer := time.NewTimer(wait.Jitter(5*time.Minute, 0.2))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.Machines.Withdrawals():
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (w withdrawals) sync(ctx context.Context, key string) (time.Duration, error) {
	id, err := facts.ParseID(key)
	if err != nil {
		return 0, err
	}
	head, found := w.Machines.Withdrawn()[id]
	if !found {
		return 0, nil
	}
	err = w.Verbs.Amend(ctx, id, func(now facts.Machine) (facts.Head, error) {
		if now.Head == nil || now.Head.Deletion.IsZero() {
			return facts.Head{}, errOver
		}
		if !now.Head.Equal(head) {
			return facts.Head{}, fmt.Errorf("its record was changed: %w", errMoved)
		}
		if now.Template {
			return facts.Head{}, fmt.Errorf("it is a template: %w", errTemplate)
		}
		amended := *now.Head
		amended.Deletion = time.Time{}
		return amended, nil
	})
	switch {
	case errors.Is(err, errTemplate):
		// What is a template cannot be changed. When it is a machine again, the deletion in it does not count.
		return 0, nil
	case errors.Is(err, failure.NotFound), errors.Is(err, failure.Forbidden):
		// It is gone, or lies where the account may do nothing. Should it come back, its deletion does not count either.
		w.Logger.V(2).Info("Leaving a deletion that is over in the record of a virtual machine that cannot be reached",
			"virtualMachine", key, "reason", err.Error())
		w.Machines.Forget(id)
		return 0, nil
	case errors.Is(err, errOver):
		w.Machines.Forget(id)
		return 0, nil
	case err == nil:
		w.Logger.Info("Took a deletion that is over out of a virtual machine's record",
			"virtualMachine", id.Value, "machine", head.Namespace+"/"+head.Name)
		w.Machines.Forget(id)
	}
	return 0, err
}
