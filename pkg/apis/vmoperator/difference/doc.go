// SPDX-License-Identifier: Apache-2.0

// Package difference finds where two objects of the group vmoperator.vmware.com
// differ, so that a message can name the field. It owns no rule about what may.
package difference
