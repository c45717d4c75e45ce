// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // What it is made of is public, and the rule is not ours.
	"encoding/hex"
	"strings"
	"time"
)

// The types of Item that images are made of.
const (
	ItemOVF = "ovf"
	ItemISO = "iso"
	// ItemVM is an item that stands for a virtual machine template, which vCenter calls vm-template there and the API VM.
	ItemVM = "vm"
)

// Library is a content library. It is shared: nobody changes it. What is different
// later is another Library.
type Library struct {
	// ID is a UUID.
	ID   string
	Name string
	// Items are those that images are made of, in the order of their ids.
	Items []Item
	// Problem says why it cannot be read now: all else is as it was read last. Empty:
	// it can.
	Problem string
}

// LibraryRef says which content library is meant. Without an ID it is any of the name.
type LibraryRef struct{ ID, Name string }

// Means says whether a library is meant, of which both are told.
func (r LibraryRef) Means(library LibraryRef) bool {
	return r.Name == library.Name && (r.ID == "" || r.ID == library.ID)
}

// Item is an item of a content library.
type Item struct {
	// ID is a UUID.
	ID   string
	Name string
	// Type is ItemOVF, ItemISO or ItemVM.
	Type string
	// Created is when it was made, and Modified when it was changed last, as vCenter
	// tells it; zero where it does not.
	Created, Modified time.Time
	// Version is the version of its contents.
	Version string
	// NotCompliant says that it does not comply with the security policy of its
	// library.
	NotCompliant bool
	// Image is what its descriptor, or its template, says, nil where none was read: an
	// ISO image has none.
	Image *Image
	// ImageVersion is the version of the contents that Image is of.
	ImageVersion string
	// Files are its files, by name. They are those of ImageVersion too, or of Version
	// where there is no descriptor.
	Files map[string]ItemFile
	// Problem says why the descriptor of Version cannot be read. Empty: it was, or
	// there is none.
	Problem string
}

// Contents are those of an item at one time. The version alone does not tell them: after
// vCenter was restored from a backup, it counts on from what it was then.
type Contents struct {
	// Item is the item's id, Version that of its contents, and Modified when it was changed
	// last.
	Item, Version string
	Modified      time.Time
}

// Origin is a disk that an item has.
type Origin struct {
	Contents
	// Name is what the file is called in the item, and File where it lies, such as
	// "[nfs] folder/disk.vmdk".
	Name, File string
}

// DatastoreOf is the name of the datastore of a file such as "[nfs] folder/disk.vmdk".
func DatastoreOf(file string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(file, "["), "]")
	return name
}

// Contents are those that its files are of.
func (i *Item) Contents() Contents {
	return Contents{Item: i.ID, Version: cmp.Or(i.ImageVersion, i.Version), Modified: i.Modified}
}

// ItemFile is a file of an item.
type ItemFile struct {
	// URL is where it lies; it begins with that of its datastore.
	URL string
	// Size is in bytes.
	Size int64
}

// Image is what the descriptor of an OVF, or a template, says of the machines that are
// made of it.
type Image struct {
	// GuestID is the operating system in vCenter's words, OS the number that CIM has for
	// it, and OSVersion what the descriptor says of its version.
	GuestID   string
	OS        int
	OSVersion string
	Firmware  string
	// HardwareVersion is 0 where none is said.
	HardwareVersion int32
	// Product is the first product.
	Product Product
	// Properties and Disks are in the descriptor's order.
	Properties []Property
	Disks      []ImageDisk
	// Extra is its ExtraConfig, as far as it is text.
	Extra map[string]string
}

// Product is what was put into an image.
type Product struct {
	Name, Vendor, Version, FullVersion string
}

// ImageDisk is a disk that each machine gets.
type ImageDisk struct {
	// Label is what the disk is called.
	Label string
	// Capacity is in bytes.
	Capacity int64
	// File is the name of the file that it is made of, empty for one that begins empty.
	File string
	// Controller is the kind of controller that it is at, as of Controller, and Bus
	// that one's number; empty and nil where the descriptor does not tell.
	Controller string
	Bus        *int32
	// Unit is its place there, nil where the descriptor does not tell.
	Unit *int32
}

// ImageName is the name in Kubernetes of the image that is made of an item.
func ImageName(item string) string { return ProviderName("vmi", item) }

// ProviderName is the name in Kubernetes of what stands for something in a content
// library, by vm-operator's rule: a prefix for the kind, and the first 17 hexadecimal
// digits of the SHA-1 of its identifier without the dashes.
func ProviderName(prefix, id string) string {
	sum := sha1.Sum([]byte(strings.ReplaceAll(id, "-", ""))) //nolint:gosec // See above.
	return prefix + "-" + hex.EncodeToString(sum[:])[:17]
}
