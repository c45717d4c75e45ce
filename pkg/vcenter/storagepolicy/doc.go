// SPDX-License-Identifier: Apache-2.0

// Package storagepolicy knows vCenter's storage policies, and which machine and
// which disk has which.
//
// It owns the reading of vCenter's policy service, and the names under which a
// policy is a StorageClass: vCenter's own from 8.0 U3 on, and before that one made
// by the same rule. Where two policies come to the same name, the older one has it
// and the other one carries a hash of its id, so that no name changes when a
// policy is added.
//
// The service tells of no changes, so a Catalogue asks: at each login, and then
// every 30 seconds. One reading is four calls while there are no more than 100
// policies (who it is, the ids, the contents, all associations at once) and two
// more for each further 100. Only where a disk has another policy than its
// machine's home is layoutEx read, for 100 such machines in one call. The
// associations of 10,000 machines with two disks each are 30,000 entries of some
// 270 bytes of SOAP. BenchmarkReading reads 1,500 of them in 18 ms on two quiet
// cores, the simulated vCenter's own share included, so that it would be 0.4 s for
// all. A pause is never shorter than twenty times what the reading took, so that a
// slow service is not kept busy by the question.
//
// Stale beats partial: what was read last stands until everything was read again.
// A service that names no policy at all counts as one that could not be read: each
// vCenter has some, and a StorageClass is not to vanish because an account lost a
// privilege. The account needs StorageProfile.View on vCenter itself.
//
// The package knows neither namespaces nor Kubernetes.
package storagepolicy
