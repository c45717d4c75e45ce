// SPDX-License-Identifier: Apache-2.0

// Package imagecache keeps whole copies of the disks of content libraries on the datastores of virtual machines, so
// that a disk comes from another datastore once and not for each machine, and so that there is something that linked
// disks can stand on which nobody changes.
//
// It owns one directory on each datastore, named after the installation that made it; in that one for each item and
// version of its contents; and in that the copies. So whose a file is, and of what, stands in its path and cannot come
// apart from it:
//
//	[nfs] pacific-cache-<installation>/<item>_<version>_<time of the change>/<digest of the file's name>-<attempt>.vmdk
//
// A copy is whole when there is a directory beside it that is called as the file, with .whole in place of .vmdk. That
// is made after the copy has ended, and after the item was asked whether it still has the version: vCenter makes a
// directory or does not, so that a death at any moment leaves nothing half that is taken for whole. Each attempt writes
// to a file of its own, since what an attempt before began may go on in vCenter and nobody knows how far it is.
//
// What is asked for by several at once is copied once, and all are told how far it is. It goes on as long as one of
// them waits.
//
// Sweep deletes what this installation made, and nothing else: copies of versions that no item has any more, and what
// attempts left, an hour after it was seen so first, and never what is among the files of any machine of the datastore,
// its snapshots' included. If vCenter does not tell the files of one of those machines, nothing is deleted there; and
// nowhere while it is known to keep machines or folders from the account, since those may stand on anything.
//
// The package depends on the gate of vCenter and on facts, and knows no machine's wish.
package imagecache
