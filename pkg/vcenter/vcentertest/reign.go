// SPDX-License-Identifier: Apache-2.0

package vcentertest

import "context"

// Reign is one that always holds, for a vcenter.Writer in a test of something else.
type Reign struct{}

// Holds implements vcenter.Reign.
func (Reign) Holds() error { return nil }

// Confirm implements vcenter.Reign.
func (Reign) Confirm(context.Context) error { return nil }

// Following says that the inventory follows vCenter, for such a Writer.
func Following() error { return nil }
