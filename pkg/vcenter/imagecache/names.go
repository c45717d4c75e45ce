// SPDX-License-Identifier: Apache-2.0

package imagecache

import (
	"crypto/sha1" //nolint:gosec // It tells names apart, and protects nothing.
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/openpacific/pacific/pkg/facts"
)

const (
	topPrefix   = "pacific-cache-"
	diskSuffix  = ".vmdk"
	flatSuffix  = "-flat.vmdk"
	wholeSuffix = ".whole"
	digits      = 17
	timeFormat  = "20060102T150405.000000000Z"
)

var (
	plain = regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`)
	// copied is what a copy is called without the end of its name.
	copied = regexp.MustCompile(`^[0-9a-f]{17}-[0-9a-f]{8}$`)
)

func digest(text string) string {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // See above.
	return hex.EncodeToString(sum[:])[:digits]
}

// safe is a name that no datastore has trouble with.
func safe(name string) string {
	if plain.MatchString(name) {
		return name
	}
	return digest(name)
}

// top is the directory of an installation.
func top(installation string) string { return topPrefix + safe(installation) }

// entry is the directory of a version of an item. The time is a part of it, since vCenter gives numbers again after it
// was restored from a backup.
func entry(of facts.Contents) string {
	return safe(of.Item) + "_" + safe(of.Version) + "_" + of.Modified.UTC().Format(timeFormat)
}

// base is what a file of a copy is called without the end of its name, whichever it is. Empty: it is none.
func base(file string) string {
	for _, suffix := range []string{flatSuffix, diskSuffix, wholeSuffix} {
		if name, ok := strings.CutSuffix(file, suffix); ok && copied.MatchString(name) {
			return name
		}
	}
	// Of the other files that a disk may consist of, such as -ctk.vmdk and -s001.vmdk.
	if name, _, ok := strings.Cut(strings.TrimSuffix(file, diskSuffix), "."); ok || len(name) <= digits+9 {
		return ""
	} else if name = name[:digits+9]; copied.MatchString(name) && strings.HasSuffix(file, diskSuffix) {
		return name
	}
	return ""
}
