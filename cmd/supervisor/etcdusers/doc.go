// SPDX-License-Identifier: Apache-2.0

// Package etcdusers keeps the users of a Supervisor's etcd: one for each client, told by the common name of its
// certificate, who may read and write under one prefix and nowhere else. So whoever gets hold of vsphere-apiserver's
// certificate has not got kube-apiserver's Secrets.
//
// What a user without the role root may do in etcd, besides: take, keep and give back leases (but not those of keys of
// others), and ask for the state of the members. Compacting is for root alone, so that etcd has to do that by itself.
//
// The package knows no component and starts nothing: it is handed a client.
package etcdusers
