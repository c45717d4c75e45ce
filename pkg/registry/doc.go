// SPDX-License-Identifier: Apache-2.0

// Package registry holds what the registries of all resources share.
//
// It owns the one place where a kind of failure becomes an API status, the
// endpoints by which any resource is read, and watches that show what somebody may
// see. It knows nothing of vSphere and nothing of any resource; packages below it,
// one per resource, hold strategy, validation, table and subresources.
package registry
