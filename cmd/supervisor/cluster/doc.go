// SPDX-License-Identifier: Apache-2.0

// Package cluster is what a Supervisor puts into its own Kubernetes API: the manifests of artifacts/base, changed where
// vsphere-apiserver runs next to kube-apiserver instead of in a pod, and the registration of its API groups.
//
// The package starts no process: it is handed a client.
package cluster
