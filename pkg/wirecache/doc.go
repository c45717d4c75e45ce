// SPDX-License-Identifier: Apache-2.0

// Package wirecache keeps the JSON of objects that did not change since they
// were last encoded, so that a list costs a copy of bytes.
//
// Nearly all that a list of ten thousand objects costs is encoding the same
// objects again. A Serializer wraps the one that the API machinery negotiates
// and takes over two things: lists of one Go type, and the metadata inside
// Tables. Everything else, and the frame around the items, passes through
// untouched, and what clients read is the same to the byte.
//
// It depends on apimachinery only.
package wirecache
