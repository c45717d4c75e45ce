// SPDX-License-Identifier: Apache-2.0

// Package kindtest holds what every kind is held to, and what tests of kinds stand on.
//
// Run checks a kind from the outside, over HTTP: that get, list and watch agree, that a dry run changes nothing, what
// becomes of a stale update and of a double create, that a list in chunks is of one moment, that tables have a row for
// each object, and that fields select what they say. Serve, World and NewFrame are for tests of one kind's own.
//
// It depends on the frame, and on nothing of vSphere.
package kindtest
