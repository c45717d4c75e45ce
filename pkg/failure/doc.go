// SPDX-License-Identifier: Apache-2.0

// Package failure names the few ways in which a request can fail that matter
// to the one who made it.
//
// It owns the list and nothing else: no wrapping, no translation, no message.
// A vSphere fault becomes a kind once, in pkg/vcenter; a kind becomes an API
// status once, in pkg/registry. Everything between the two passes errors on,
// wrapped with %w, and asks with errors.Is:
//
//	if errors.Is(err, failure.Conflict) { … }
//
// The package imports nothing of ours.
package failure
