// SPDX-License-Identifier: Apache-2.0

// Package install registers the API group vmoperator.vmware.com in a scheme.
//
// It owns which versions are served, in which order they are preferred, how an
// object gets from one to another, and which field selectors each of them
// knows. The types and the conversions themselves come from the module
// github.com/vmware-tanzu/vm-operator/api. Only kinds that the server serves
// are registered.
//
// v1alpha5 is the hub: the same Go type is registered as v1alpha5 and as the
// internal version, so the newest version costs no conversion at all.
//
// An object at an older version carries the annotation
// vmoperator.vmware.com/conversion with the hub's spec and status as JSON, for
// what the older version has no field for. A write through that version brings
// the annotation back: what it stashed is restored, and the annotation itself
// is removed before anything is stored.
package install
