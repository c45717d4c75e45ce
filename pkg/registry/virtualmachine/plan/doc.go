// SPDX-License-Identifier: Apache-2.0

// Package plan works out what a virtual machine that somebody asks for comes to: of its class, image, storage class and
// networks, and of what its namespace has, the shell that is to be made in vCenter and what is left to be made after that.
//
// What is wrong with the wish is an error that names the field. It acts on nothing and asks vCenter nothing: all that it needs
// is known. It depends on facts and on pkg/placement; classes, images and namespaces it is handed through interfaces of its own.
package plan
