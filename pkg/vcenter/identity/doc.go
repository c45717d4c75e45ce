// SPDX-License-Identifier: Apache-2.0

// Package identity remembers which virtual machine is which, for when vCenter does not tell.
//
// vCenter tells no configuration of a machine whose datastore is inaccessible or whose host is away: neither the uuid
// by which the machine is known nor the record that lies in it. A process that follows it keeps what was told before.
// One that starts then has nothing to keep, and such a machine would be gone to clients, with all that the garbage
// collector takes along. So a Memory keeps of every machine its uid, name and time of creation in documents:
//
//	<vCenter>/Folder/<id>/<number>  →  {folder, machines: [{id, uid, name, created, recorded}, …]}
//
// one for each folder that stands for a namespace, or several where more than a thousand machines lie in it. This is
// the only copy of anything in vCenter; it is used where vCenter tells no configuration, and for nothing else. What
// vCenter tells of a machine wins over what is remembered of it, always. Which of two machines has a name, one that is
// told or one that is remembered, is decided as between told ones, by what is remembered; but one without a record that
// is called otherwise by now comes last.
//
// A machine is remembered in its folder alone: what has its id in another one may be another machine, of a vCenter that
// was restored. So one that was moved just before a process ended may be unknown to the next one. The package depends
// on facts alone; it knows neither vCenter nor etcd.
package identity
