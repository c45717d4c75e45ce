// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vmdk"
)

// LocalPath is where a file of a datastore is on this machine.
func LocalPath(ctx *simulator.Context, name string) (string, bool) {
	var at object.DatastorePath
	if !at.FromString(name) {
		return "", false
	}
	for _, entity := range ctx.Map.All("Datastore") {
		datastore := entity.(*simulator.Datastore)
		url, found := "", false
		ctx.WithLock(datastore, func() { url, found = datastore.Summary.Url, datastore.Name == at.Datastore })
		if found {
			return filepath.Join(url, at.Path), true
		}
	}
	return "", false
}

// isDisk says whether a file is one of a disk.
func isDisk(file string) bool { return filepath.Ext(file) == ".vmdk" }

// Home gives a new machine a directory of its own, as vCenter names it: after the machine, and with a number where
// there is one already, such as one that a machine before left.
func Home(ctx *simulator.Context, spec *types.VirtualMachineConfigSpec) {
	var at object.DatastorePath
	if spec.Files == nil || !at.FromString(spec.Files.VmPathName) || filepath.Ext(at.Path) == ".vmx" {
		return
	}
	base := at.Path
	if base == "" {
		base = strings.NewReplacer("%", "%25", "/", "%2f", `\`, "%5c").Replace(spec.Name)
	}
	for n := 0; ; n++ {
		at.Path = base
		if n > 0 {
			at.Path += "_" + strconv.Itoa(n)
		}
		local, ok := LocalPath(ctx, at.String())
		if _, err := os.Stat(local); !ok || err != nil {
			spec.Files.VmPathName = at.String()
			return
		}
	}
}

// CapacityOf is how large a disk is, and whether a file is one: the descriptor of one in several files, or one in a
// single file as content libraries have it.
func CapacityOf(local string) (bytes int64, disk bool) {
	if info, err := vmdk.Stat(local); err == nil {
		return info.Capacity, true
	}
	file, err := os.Open(filepath.Clean(local))
	if err != nil {
		return 0, false
	}
	defer func() { _ = file.Close() }()
	descriptor, err := vmdk.ParseDescriptor(file)
	if err != nil || len(descriptor.Extent) == 0 {
		return 0, false
	}
	return descriptor.Capacity(), true
}
