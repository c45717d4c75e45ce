// SPDX-License-Identifier: Apache-2.0

// Package vsphere holds the names by which Pacific marks what is its own in vSphere's and in Kubernetes' objects, each
// once. It depends on nothing, so that every layer may import it.
package vsphere
