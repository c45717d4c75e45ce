// SPDX-License-Identifier: Apache-2.0

// Package openapi makes the OpenAPI configuration of the server out of the
// generated definitions and a scheme.
//
// It owns the names of the models. The types of
// github.com/vmware-tanzu/vm-operator/api do not tell a name for their model, so
// the generator keys them by Go path
// (github.com/vmware-tanzu/vm-operator/api/v1alpha5.VirtualMachine), whereas the
// library that serves the documents looks every model up by its REST-friendly
// name (com.github.vmware-tanzu.vm-operator.api.v1alpha5.VirtualMachine). Left
// alone, no model would say its group, version and kind, and kubectl explain and
// server-side apply would not find one.
package openapi
