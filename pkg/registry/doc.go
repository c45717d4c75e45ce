// SPDX-License-Identifier: Apache-2.0

// Package registry is the frame around every kind that is served.
//
// A Kind is a descriptor, one struct literal: names, versions, columns, fields to select by, rules for what is written,
// refusals, and who is shown what. There are four ways to serve one:
//
//	ServeLive      vCenter holds it: a projection feeds it, and a backend carries out what is written
//	ServeReadOnly  vCenter holds it, and nobody writes
//	ServePolled    vCenter holds it and tells of no changes: somebody asks again and again, and nobody writes
//	ServeDeclared  it exists in no vCenter: somebody declares it, and upstream's storage keeps it in etcd
//
// The frame owns the rest, once: store, codec, keys, endpoints and their errors, group installation at all versions,
// kept JSON, field selectors, tables, ownership of fields (Asked, Unowned), what is shown to whom in lists and
// watches, deletion under guards, what a projection shows and waits for (package projected), and the way in for
// controllers of this process (Inside). A Served stands for a kind where its types do not matter: in the one list of
// all, for documents and for readiness.
//
// It knows nothing of vSphere and nothing of any kind; packages below it, one for each, hold the descriptors. The
// package kindtest holds what every kind is held to.
package registry
