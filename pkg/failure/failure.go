// SPDX-License-Identifier: Apache-2.0

package failure

import "errors"

// Kind is a way to fail. Its values are constants, so that no package can
// replace one, and they implement error, so that they can be wrapped.
type Kind string

const (
	// NotFound: the object does not exist, or does so no longer.
	NotFound Kind = "not found"
	// AlreadyExists: an object of that name exists, so none can be made.
	AlreadyExists Kind = "already exists"
	// Conflict: the object is no longer, or is just now not, in the state that
	// the request was made for. Reading it again and retrying may help.
	Conflict Kind = "conflict"
	// Forbidden: the account is known and may not do this.
	Forbidden Kind = "forbidden"
	// Unauthenticated: the account or its proof was not accepted.
	Unauthenticated Kind = "unauthenticated"
	// Invalid: the request can never succeed as it stands.
	Invalid Kind = "invalid"
	// Unavailable: something that the request needs is away for now; the same
	// request may succeed later.
	Unavailable Kind = "unavailable"
	// ResourceExhausted: there is not enough capacity, space or quota.
	ResourceExhausted Kind = "resource exhausted"
	// Timeout: no answer came in time; whether it took effect is not known.
	Timeout Kind = "timeout"
)

// Error returns the kind's name.
func (k Kind) Error() string { return string(k) }

// KindOf returns the kind that err wraps, looking through the whole tree of
// joined and wrapped errors, or "" when it wraps none.
func KindOf(err error) Kind {
	var kind Kind
	if errors.As(err, &kind) {
		return kind
	}
	return ""
}
