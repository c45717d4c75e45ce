// SPDX-License-Identifier: Apache-2.0

package vcenter

// Metrics counts and times what a Session does.
type Metrics struct{}
