// SPDX-License-Identifier: Apache-2.0

// Package contentlibrary knows which image lies in which of vCenter's content
// libraries.
//
// It owns the reading of libraries and items over vCenter's REST endpoints, and
// the names under which an item is an image: its own, and the one that
// Kubernetes knows it by, which is made of the item's identifier.
//
// vCenter tells of no changes here, so a Catalogue asks every minute. What
// vCenter's version and modification time of a library tell of are the library's
// own properties: they do not move when an item comes or goes. So each reading
// asks for the libraries and for the identifiers of their items, and an item is
// read once, when it is new. Items can be renamed: all of a subscribed library
// are read again when it was synchronised, and a tenth of all others at each
// reading, so that a new name shows within ten minutes. With 50 libraries and
// 2,000 items that is 2,101 calls for the first reading and 301 for each one
// after that, four at a time.
//
// Stale beats partial: what was read last stands until everything was read
// again. A library or item that the account may not read is not there.
//
// The package knows neither namespaces nor who may use which library.
package contentlibrary
