// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"regexp"
	"strings"

	"github.com/vmware/govmomi/vapi/library"
)

// imageName is what facts.ImageName returns.
var imageName = regexp.MustCompile(`^vmi-[0-9a-f]{17}$`)

// isImage says whether items of a type are images: OVF and virtual machine
// templates, and ISO images for CD drives.
func isImage(itemType string) bool {
	switch strings.ToLower(itemType) {
	case library.ItemTypeOVF, library.ItemTypeVMTX, library.ItemTypeISO:
		return true
	}
	return false
}
