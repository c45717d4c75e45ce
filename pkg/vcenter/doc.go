// SPDX-License-Identifier: Apache-2.0

// Package vcenter owns the login at vCenter.
package vcenter
