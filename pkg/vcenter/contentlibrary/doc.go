// SPDX-License-Identifier: Apache-2.0

// Package contentlibrary knows what lies in vCenter's content libraries, and what
// images can be made of it.
//
// It owns the reading of libraries, items, OVF descriptors and templates over vCenter's REST
// endpoints, and the names under which an item is an image: its own, and the one
// that Kubernetes knows it by, which is made of the item's identifier.
//
// vCenter tells of no changes here, so a Catalogue asks every 20 s. What vCenter's
// version and modification time of a library tell of are the library's own
// properties: they do not move when an item comes or goes. So each reading asks for
// the libraries and for the identifiers of their items, and looks at the items of
// those that somebody is given: what is new, changed or removed there shows within
// 30 s. Of other libraries it looks at a tenth of the items each time, and at all of
// a subscribed one when it was synchronised. The descriptor of an item is read
// once for each version of its contents and each time at which the item was changed, in
// five calls: after a restore of vCenter, a version may come again with other contents. With 50 libraries and 2,000
// items of which half are given that is 14,101 calls for the first reading and 1,201 for each one after that, four at a
// time: 30 s are kept as long as vCenter answers within some 60 ms.
//
// An item that stands for a virtual machine template has no descriptor and no files: vCenter's
// REST endpoints say which template that is, and the inventory what it is like and where its disks
// lie, in three calls. A template that is changed without a new version of its item, as when its
// files are moved, is not looked at again.
//
// Stale beats partial, for each library by itself: of one that cannot be read, what
// was read last stands, with the reason, and it is tried again ever more rarely. The
// others go on, since each is read on its own: no library has more than half of the
// calls, each call has a deadline, and what is read shows before the others are. Only
// the first reading is told as one, that nobody takes a part for the whole: once each
// library was read or failed twice, or after 5 minutes without those that are still
// being read.
//
// A library or item that the account may not read from the start is not there; one
// that is hidden later is kept. It is gone when vCenter does not find it, and does not
// list it afterwards either. An item that is listed for good and never found is shown as
// one that cannot be read after some ten minutes, and the library goes on without it.
//
// Of a descriptor no more is held than somebody wants: Keeps says what.
//
// The package knows neither namespaces nor who may use which library.
package contentlibrary
