// SPDX-License-Identifier: Apache-2.0

// Package inventory follows vCenter's inventory.
package inventory
