// SPDX-License-Identifier: Apache-2.0

// Package policy is the storage policies of the simulated vCenter.
//
// It owns the policies, the policy service that answers for them, and which
// machine and which disk has which. It does not make or change machines: whoever
// does asks it whether a policy is known and tells it what a task will change. It
// depends on govmomi alone.
//
// What is stricter than in govmomi's simulator:
//
//   - Storage policies belong to their vCenter. One is created, renamed and
//     deleted as in vCenter: a name that is taken is refused, the name for
//     Kubernetes is made once and stays, one in use is not deleted. The vmProfile
//     of a machine and the profile of a disk, given to create, reconfigure and
//     clone, are refused when there is no such policy, else they count once the
//     task has succeeded, and PbmQueryAssociatedEntity, -Entities, -Profile and
//     -Profiles answer by them. Clones have the policies that the request gives
//     them, and no others; profiles in RelocateVM_Task are passed over.
//
//   - Which datastores satisfy a policy goes by its rules: PbmCheckRequirements
//     knows rules that ask for tags, of which each datastore has one, its name.
//
// The storage policies of pbm/simulator are shared by every simulator of a process
// and written to when one is made, which a mutex of this package guards; each
// vCenter copies them.
package policy
