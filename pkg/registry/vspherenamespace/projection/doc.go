// SPDX-License-Identifier: Apache-2.0

// Package projection makes vSphere Namespaces of vCenter's folders and resource pools, and of their records.
//
// A folder directly below the namespaces folder is a vSphere Namespace, whoever made it. Its zones are the clusters in
// which it has a resource pool: the one that its record names. As long as nobody has declared zones or limits, it is
// the one of the folder's name directly below the cluster's root pool. Limits, reservations and usage are read from
// those pools, the number of machines from the folder. What no folder or pool can carry stands in its record.
//
// A namespace that nobody ever wrote to has no record. Its uid is made of vCenter's and the folder's ids, and lasts as
// long as they do; its age is that of its Kubernetes Namespace, since vCenter keeps none for a folder.
//
// Usage changes all the time. So that it does not become an event per second, it is rounded (to 10 MHz and 64 MiB,
// upwards) and looked at every 15 seconds: no namespace has more than one event in that time for its usage. Limits,
// counts of machines and everything else show at once.
//
// Storage is counted by storage policy: the space of a machine under the policy of its home, disks of another policy
// under theirs.
//
// The Projector also tells what realises vSphere Namespaces how the inventory stands: what there is of each, and
// whether what a record names is still what it was. It acts on nothing, and knows neither etcd nor the API server.
package projection
