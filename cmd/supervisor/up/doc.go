// SPDX-License-Identifier: Apache-2.0

// Package up is `supervisor up`: it checks what it is asked for, makes certificates, starts the components as child
// processes, registers vsphere-apiserver with kube-apiserver, says what it does, and stops everything in order.
//
// What runs without nodes. kube-apiserver authorises by RBAC alone, and no endpoint reconciler runs, so that it may
// advertise loopback. kube-controller-manager runs the controllers that make sense without nodes: namespaces, garbage
// collection, quota, service accounts and their tokens, role aggregation, the root CA in every namespace, finished
// objects' time to live, the status of validating admission policies, and the signing and cleaning of certificate
// requests. The controllers of workloads (Deployments, Jobs and so on) stay out: their pods could run nowhere.
//
// Certificates are made anew while everything runs; what keeps them true are the files. kube-apiserver,
// vsphere-apiserver and kube-controller-manager watch those of their serving certificates, and the aggregator that of
// the one it shows to vsphere-apiserver. etcd, its clients, the simulated vCenter and this process read them at each
// new connection. client-go looks every five minutes at the files that a kubeconfig names, and closes its connections
// when they have changed: since kube-apiserver looks at the certificate of a connection at each request, one that ended
// would be refused from then on.
package up
