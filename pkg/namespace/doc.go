// SPDX-License-Identifier: Apache-2.0

// Package namespace says which Kubernetes namespace a folder of vCenter stands for, and turns names of vCenter into
// names that Kubernetes accepts.
//
// It owns the tree of folders below the namespaces folder and the naming rule: a folder that lies directly in the
// namespaces folder is a namespace, whatever lies deeper belongs to it. The package knows neither govmomi nor any API
// object; folders are named by their managed-object ids.
package namespace
