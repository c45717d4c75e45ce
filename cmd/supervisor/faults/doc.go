// SPDX-License-Identifier: Apache-2.0

// Package faults tests Supervisors that something happens to, each of its own: what breaks, what is killed, what fills up,
// and what is there afterwards. Most are on a vCenter that lives in the test's process, which a test can stop, and whose
// sessions, people and machines it can change. It holds tests only, like package e2e, whose Supervisor is shared and stays
// whole; `make faults` runs them.
//
//   - vcenter_fault_test.go, server_fault_test.go: faults, and recovery from each.
//   - question_test.go: machines that wait for an answer in vCenter.
//   - datastore_test.go: a datastore that is lost while the Supervisor starts.
//   - stale_test.go: machines that are rescued while the inventory cannot be read.
//   - kills_test.go: random faults, of the machinery and by a VI admin, while vSphere Namespaces are made, changed and
//     deleted; and that nobody else is harmed. Each kind comes once at first; KILLS and KILLS_SEED say how many, and which.
//     `make kills` makes a hundred, `make test` fifteen, those of the day.
//   - machine_kills_test.go: the same while virtual machines are made, resized, switched and deleted, with resource policies
//     and services; MACHINE_KILLS says how many faults.
//   - calls_test.go: each call to vCenter that it takes to make, resize and delete machines with a resource policy and a
//     service goes wrong once, and the server is killed before it and after it. CALLS and CALLS_SEED say how many calls,
//     and which; `make calls` has all go wrong, `make test` eight, those of the day.
//   - errors_test.go: what vCenter refuses while a machine is made, and what its owner is told.
//   - spray_test.go: guessed passwords, of which vCenter must never hear so many that it locks anybody out.
//   - samples_test.go, samples_deleted_test.go: a second start on what people made of the samples.
//   - authority_test.go: a certificate authority that is lost between two starts.
//   - renewal_test.go: certificates that end and are renewed while everything runs.
//   - etcd_test.go: an etcd of an earlier version, which never asked who its clients are.
//   - load_test.go, slow_test.go: machines that are made one by one and many at once, with what each costs vCenter; many
//     that stay as they are; and copies that take their time. CREATES, STANDING, IDLE_SECONDS and SLOW_SECONDS say how much;
//     `make load` has the full size and prints the figures.
//   - scale_test.go: a developer with few roles among 500 vSphere Namespaces.
package faults
