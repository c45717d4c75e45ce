// SPDX-License-Identifier: Apache-2.0

// Package vcentertest is a simulated vCenter: govmomi's simulator behind real
// SOAP over TLS with a password that is checked, tightened where the simulator
// is softer than vCenter, with inventories worth testing against.
//
// It owns the listener, the certificate, the sessions' life and death, the
// builder of inventories, and the managed objects that replace the simulator's
// own. It depends on govmomi alone and on nothing else of this project, so that
// the session, the inventory and the programs can be tested against it.
//
// What is stricter than in govmomi's simulator:
//
//   - ReconfigVM_Task with a stale changeVersion fails with ConcurrentAccess.
//   - Two virtual machines of one name in one folder are refused with
//     DuplicateName, on create, clone, register, rename, reconfigure and move.
//   - An instanceUuid is unique: a second machine that asks for one that is taken
//     gets another one. A clone gets one of its own, and the extraConfig.
//   - Rename_Task changes config.name as well as name.
//   - A property collector sends what changed: an object enters once, sends the
//     paths whose values differ, and leaves when its view lets go of it. Moves
//     between folders change parent, and enter and leave views. Changes that the
//     simulator makes without notice (a resource pool's configuration, lists of
//     machines) arrive too.
//   - A waiting WaitForUpdatesEx fails with NotAuthenticated when its session
//     ends, and a version that the collector did not hand out is refused with
//     InvalidCollectorVersion; the last version but one is answered again.
//   - Users and groups are those of a Directory: passwords are checked, with
//     vCenter's lockout, the token service issues an assertion for the one who
//     asks and for nobody else, the administration service finds nested groups,
//     and both logins by assertion take only one that was issued; the REST
//     endpoints take none, and no login without a password by JSON-RPC.
//   - Items of content libraries have the same identifiers at each start.
//   - The port group of a distributed switch's uplinks is tagged as such.
//   - Storage policies belong to their vCenter. One is created, renamed and
//     deleted as in vCenter: a name that is taken is refused, the name for
//     Kubernetes is made once and stays, one in use is not deleted. The vmProfile
//     of a machine and the profile of a disk, given to create, reconfigure and
//     clone, are refused when there is no such policy, else they count once the
//     task has succeeded, and PbmQueryAssociatedEntity, -Entities, -Profile and
//     -Profiles answer by them. Clones have the policies that the request gives
//     them, and no others; profiles in RelocateVM_Task are passed over.
//   - Guest operations need running tools, and power tasks refuse what vCenter
//     refuses.
//
// Package variables of govmomi that are shared by every simulator of a process,
// and that this package therefore does not touch: simulator.TaskDelay,
// simulator.DefaultLogin, simulator.StatusSDK, simulator.Trace, the endpoints of
// simulator.RegisterEndpoint, the session of in-process clients, and the
// templates in simulator/esx, of which resource pools share one summary. The
// storage policies of pbm/simulator are shared too and written to when one is
// made, which a mutex of this package guards; each vCenter here
// copies them.
package vcentertest
