// SPDX-License-Identifier: Apache-2.0

// Package ledger keeps in etcd the few facts that no vCenter object can carry:
//
//   - the term: a number that rises with every process that serves, from which
//     resourceVersions are made, so that they never go back over restarts,
//     over leaders and whatever the clocks do;
//   - who leads: one replica reigns and writes to vCenter, the others stand by;
//   - which installation this is, so that what another one wrote into vCenter is
//     known for that, and the keys by which it proves what it wrote there itself;
//   - which namespace folders were detached by deleting their Namespace;
//   - documents of other packages, whose meaning is not its business.
//
// All that is written is written under the term of the process that writes, and
// refused once another process has taken one.
//
// It owns the etcd client and, for a single replica, the etcd server that runs
// inside this process on a volume. It depends on neither vCenter nor the
// Kubernetes API: a folder is a string to it.
package ledger
