// SPDX-License-Identifier: Apache-2.0

// Package livestore is a storage.Interface of the Kubernetes API server library over an in-memory mirror of the
// outside world, for one resource.
//
// The mirror is fed from one side: Replace hands over the whole truth, Apply hands over changes. Each real change
// becomes one revision of a Sequence that all stores of the process share, is kept in a bounded history, and is
// published to watchers. Writes never edit the mirror: they go out through the Backend, and come back through Apply
// or Replace. A write returns once its effect has come back.
//
// What the package promises:
//
//   - Revisions only rise. A list carries the revision of the last change the store applied, never 0; a deletion has a
//     revision of its own, and its event carries the last state of the object under that revision.
//   - A change that changes nothing (equal except for resourceVersion) is no event and moves no revision.
//   - A list at a revision and the watch from that revision together are complete: no event lost, doubled or reordered.
//   - Revisions out of reach of the history are answered with 410, so that clients list anew; revisions of the future
//     with "too large resource version".
//   - Objects in the mirror are immutable and shared: with lists, with watchers, and with the cache above. Only callers
//     that may change what they get (Get and the writes) receive copies.
//   - Watchers read the shared history by position. A slow one costs no memory, holds up nobody, and learns that it has
//     fallen out of the history by a 410.
//
// Time to live is not supported: the outside world decides when an object ends, and the ttl arguments are ignored.
//
// The package knows neither the outside world nor the types it stores. It imports nothing else of this project, so
// that the suites of k8s.io/apiserver/pkg/storage/testing can run over it with their own types.
package livestore
