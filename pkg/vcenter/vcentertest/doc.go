// SPDX-License-Identifier: Apache-2.0

// Package vcentertest is a simulated vCenter: govmomi's simulator behind real
// SOAP over TLS with a password that is checked, tightened where the simulator
// is softer than vCenter, with inventories worth testing against.
//
// It owns the listener, the certificate, the sessions' life and death, the
// builder of inventories and the samples, and the folders, machines and pools that
// are stricter than the simulator's. It joins packages that know nothing of
// each other: single sign-on (directory), the property collector (collector), the
// storage policies (policy), what is looked at before a machine is made or changed
// (admission), which calls go wrong (fault), tasks that take their time (slow), what
// runs in the machines (guest) and how all of it is remembered from one process to the
// next (memory). It depends on govmomi, on these, and of the rest of this project on what
// knows nothing of vCenter: facts and guestaddress. So the session, the inventory and
// the programs can be tested against it.
//
// What is stricter than in govmomi's simulator:
//
//   - A request that names what is not there, such as a datastore, a network or a pool,
//     fails with the fault that vCenter has for it and leaves nothing; the simulator ends
//     the process. Whatever else panics in a task is a SystemError.
//   - What a machine cannot have is refused on create as on reconfigure, and before
//     anything is made or changed: names of more than 80 characters, guests, versions,
//     CPUs and memory that there are not, disks without a place or without room, growth
//     of disks that others need, values that no guest reads. What cannot be changed while
//     a machine is on says so.
//   - Network adapters have addresses of vCenter's range that no other has, clones' too, and
//     keys of vCenter's range, from which the first free one is taken. They are added, changed
//     and taken away while a machine is on, which its guest sees: ten at most, each once in a
//     request, and none of a machine that is suspended, or on with devices.hotplug set to FALSE.
//   - A machine is powered on on a host that is connected and not in maintenance; without
//     DRS it fails where it is. A disk is one machine's at a time. Power changes the
//     version of a configuration.
//   - Disks are copied and extended only where they are disks, nobody has them and there is
//     room. Those of content libraries can be copied too. Promotion takes no time and
//     holds no lock, and is refused under a snapshot.
//   - A machine has a directory of its own, also where one of its name was left.
//   - A task can take its time: it has progress, holds no lock and can be cancelled, and
//     what else would change its machine meanwhile fails with TaskInProgress, and so do
//     the later ones of those that come at once. A task that cannot be cancelled says so.
//   - A view of listed objects shows none that is not there, and an object that goes leaves it.
//   - The event manager tells its last event.
//   - What an allocation leaves out, of a limit, a reservation and shares, stays as it is.
//   - ReconfigVM_Task with a stale changeVersion fails with ConcurrentAccess.
//   - Two virtual machines of one name in one folder are refused with
//     DuplicateName, on create, clone, register, rename, reconfigure and move.
//   - An instanceUuid is unique: a second machine that asks for one that is taken
//     gets another one. A clone gets one of its own, and the extraConfig.
//   - A revert to a snapshot puts the configuration back, extraConfig included, and
//     the power state.
//   - MarkAsTemplate and MarkAsVirtualMachine are told to who follows the machine, and
//     of a template only the name and the annotation can be changed.
//   - Rename_Task changes config.name as well as name.
//   - What changes something happens one call at a time, tasks included, since the
//     simulator locks little beside the object that is called.
//   - Logins are those of a directory, with its passwords and its lockout; one by
//     assertion takes only one that was issued. The REST endpoints take none, and
//     JSON-RPC lets nobody in without a password.
//   - Items of content libraries have the same identifiers at each start. New files
//     and new descriptions count up their versions, and storage URIs and datastores
//     name places on datastores, not on this machine.
//   - Items that stand for templates have a version, and say which template that is. It has
//     the firmware, the boot options and the properties of the machine that it was made of.
//   - The port group of a distributed switch's uplinks is tagged as such.
//   - What somebody has the role "No access" on is kept from them: it is in no
//     view, no search finds it, and every call fails with NoPermission.
//   - A cluster whose DRS is off has no resource pools: those that are there go, and
//     making one fails with NotSupported.
//   - What linked disks stand on goes with their machine, and when they are promoted, unless the
//     machine says that it is to be kept. Promotion takes the room of a whole disk.
//   - A datastore lists the machines that came to it by a change too.
//   - A datastore can be made a vSAN, at the top of which only its own manager makes directories.
//   - A datastore can be lost: the machines whose configuration lies there are
//     inaccessible, it is unset, and calls on them fail with InvalidState.
//   - A machine can be asked a question: changes of its power wait until somebody has
//     answered.
//   - Where it was asked for, machines have guests that start with them, set themselves up
//     as they are told, and report, or fail.
//   - Where it was asked for, guests answer to whoever connects to them.
//   - Guest operations need running tools, and power tasks refuse what vCenter
//     refuses.
//
// Package variables of govmomi that are shared by every simulator of a process,
// and that this package therefore does not touch: simulator.TaskDelay,
// simulator.DefaultLogin, simulator.StatusSDK, simulator.Trace, the endpoints of
// simulator.RegisterEndpoint, the session of in-process clients, and the
// templates in simulator/esx, of which resource pools share one summary. Package
// policy says how it gets by with the storage policies, which are shared too.
package vcentertest
