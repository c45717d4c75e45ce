// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25"
)

// Reign is the time for which this process, of all that serve the same records,
// may write.
type Reign interface {
	// Holds says why this process may not write now, nil when it may. It asks nobody.
	Holds() error
	// Confirm is like Holds, and asks whoever gives the right.
	Confirm(ctx context.Context) error
}

// Writer is the only way to change something in vCenter: the connections of a
// Session refuse every method that does more than read, unless it is called with
// the context that a Writer hands out.
//
// A Writer acts only during a reign and while the inventory follows vCenter, since
// what to do is decided by what the inventory shows. It looks at both before it
// begins, and again directly before each call that acts; before one that destroys it
// also has the reign confirmed. Its refusals are failure.Unavailable: they pass.
type Writer struct {
	Session *Session
	Reign   Reign
	// Following says why the inventory does not follow vCenter, nil when it does.
	Following func() error
}

// passKey is where a context carries its Writer.
type passKey struct{}

// unsent is the error of a call that the gate did not let through. vCenter knows
// nothing of it.
type unsent struct{ cause error }

func (r *unsent) Error() string { return r.cause.Error() }
func (r *unsent) Unwrap() error { return r.cause }

// Ready says why nothing may be changed now, nil when something may.
func (w *Writer) Ready() error {
	if err := w.Reign.Holds(); err != nil {
		return &unsent{unavailable(err)}
	}
	if err := w.Following(); err != nil {
		return &unsent{unavailable(fmt.Errorf("vCenter's inventory is not followed now, and nothing is changed by what was "+
			"there before: %w", err))}
	}
	return nil
}

// Do is Session.Do for acts.
func (w *Writer) Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error {
	if err := w.Ready(); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return w.Session.Do(context.WithValue(ctx, passKey{}, w), operation, f)
}

// DoREST is RESTSession.Do for acts.
func (w *Writer) DoREST(ctx context.Context, session *RESTSession, operation string,
	f func(context.Context, *rest.Client) error) error {
	if err := w.Ready(); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return session.Do(context.WithValue(ctx, passKey{}, w), operation, f)
}

// allow lets an act go out for the Writer that ctx carries. Its errors are
// refusals.
func allow(ctx context.Context, method string) error {
	w, found := ctx.Value(passKey{}).(*Writer)
	if !found {
		return &unsent{fmt.Errorf("%s is not known for a method that only reads, so it must be called through a Writer",
			method)}
	}
	if err := w.Ready(); err != nil {
		return err
	}
	if !destroying(method) {
		return nil
	}
	if err := w.Reign.Confirm(ctx); err != nil {
		return &unsent{unavailable(err)}
	}
	return nil
}

// unsentBy returns the refusal that an error is made of, without what clients of
// HTTP put around it, nil when there is none.
func unsentBy(err error) error {
	var found *unsent
	if errors.As(err, &found) {
		return found
	}
	return nil
}
