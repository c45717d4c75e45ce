// SPDX-License-Identifier: Apache-2.0

// Package realisation maps vCenter's folders and resource pools to vSphere
// Namespaces, and carries out in vCenter what is asked of them.
//
// A folder directly below the namespaces folder is a vSphere Namespace, whoever
// made it. Its zones are the clusters in which it has a resource pool: the one
// that its record names. As long as nobody has declared zones or limits, it is the
// one of the folder's name directly below the cluster's root pool. Limits,
// reservations and usage are read from those pools, the number of machines from
// the folder. What no folder or pool can carry (who
// may what, descriptions, Kubernetes' metadata, and what is still to be done)
// stands in a Record, which somebody else keeps.
//
// A namespace that nobody ever wrote to has no record. Its uid is made of
// vCenter's and the folder's ids, and lasts as long as they do; its age is that of
// its Kubernetes Namespace, since vCenter keeps none for a folder.
//
// Usage changes all the time. So that it does not become an event per second, it
// is rounded (to 10 MHz and 64 MiB, upwards) and looked at every 15 seconds: no
// namespace has more than one event in that time for its usage. Limits, counts
// of machines and everything else show at once.
//
// Storage is counted by storage policy, which package storagepolicy knows: the
// space of a machine under the policy of its home, disks of another policy under
// theirs.
//
// Creating writes the record first and then goes on to what it says: folder,
// pools, limits. Each step looks at what is there already, so that whoever comes
// after a kill finishes it: Backend.Realise for what is wanted, Backend.Dismantle
// for what is to go. Before something is made the record says so: what could not
// be written down any more is found by its name, while it is empty. Everything
// else of that name is somebody else's, and is taken over only where the spec
// names its id. Nothing is destroyed but what Pacific made, by the record, and
// that only while it is empty.
//
// The package knows neither etcd nor the API server: it declares what it needs.
package realisation
