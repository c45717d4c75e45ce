// SPDX-License-Identifier: Apache-2.0

// Package up is `supervisor up`: it checks what it is asked for, makes certificates, starts the components as child
// processes, registers vsphere-apiserver with kube-apiserver, says what it does, and stops everything in order.
//
// What runs without nodes. kube-apiserver authorises by RBAC alone, and no endpoint reconciler runs, so that it may
// advertise loopback. kube-controller-manager runs the controllers that make sense without nodes: namespaces, garbage
// collection, quota, service accounts and their tokens, role aggregation, the root CA in every namespace, finished
// objects' time to live, the status of validating admission policies, and the signing and cleaning of certificate
// requests. The controllers of workloads (Deployments, Jobs and so on) stay out: their pods could run nowhere.
package up
