// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"crypto/sha1" //nolint:gosec // What it is made of is public, and the rule is not ours.
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/vmware/govmomi/vapi/library"
)

// imageName is what ImageName returns.
var imageName = regexp.MustCompile(`^vmi-[0-9a-f]{17}$`)

// ImageName returns the name of the image that an item is to Kubernetes, by
// vm-operator's rule: "vmi-" and the first 17 hexadecimal digits of the SHA-1 of
// the item's identifier without its dashes.
func ImageName(item string) string {
	sum := sha1.Sum([]byte(strings.ReplaceAll(item, "-", ""))) //nolint:gosec // See above.
	return "vmi-" + hex.EncodeToString(sum[:])[:17]
}

// isImage says whether items of a type are images: OVF and virtual machine
// templates, and ISO images for CD drives.
func isImage(itemType string) bool {
	switch strings.ToLower(itemType) {
	case library.ItemTypeOVF, library.ItemTypeVMTX, library.ItemTypeISO:
		return true
	}
	return false
}
