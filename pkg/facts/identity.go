// SPDX-License-Identifier: Apache-2.0

package facts

import "time"

// Identity is what a virtual machine is known by to those who use it.
type Identity struct {
	// UID is its instanceUuid.
	UID string
	// Name is the one that it is served under, empty while it is served under none.
	Name string
	// Created is when it was made, in whole seconds; zero where vCenter does not know.
	Created time.Time
	// Recorded says that a record in it asks for the name: it comes before a machine that has none.
	Recorded bool
}
