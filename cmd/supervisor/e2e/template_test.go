// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

// fromTemplate is what a machine has in vCenter.
type fromTemplate struct {
	Guest, Firmware, Version string
	Disks                    []int64
	Parents                  int
	Folder                   bool // its disks lie in its own folder
}

func shape(t *testing.T, a *supervisortest.Admin, path string) (got fromTemplate) {
	t.Helper()
	found, err := find.NewFinder(a.Builder.Client.Client).VirtualMachine(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	config := a.Properties(found).Config
	got = fromTemplate{Guest: config.GuestId, Firmware: config.Firmware, Version: config.Version, Folder: true}
	home := config.Files.VmPathName[:strings.LastIndex(config.Files.VmPathName, "/")+1]
	for _, device := range object.VirtualDeviceList(config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil)) {
		disk := device.(*types.VirtualDisk)
		backing := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		got.Disks = append(got.Disks, disk.CapacityInBytes>>30)
		got.Folder = got.Folder && strings.HasPrefix(backing.FileName, home)
		if backing.Parent != nil {
			got.Parents++
		}
	}
	return got
}

// TestFromATemplate has a developer make a machine of a virtual machine template, which an item of a content library stands
// for, and looks in vCenter at what came of it.
func TestFromATemplate(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := s.Shop(t, "template-shop")
	const file = "../../../artifacts/samples/virtualmachine-template.yaml"
	image := strings.Fields(s.Kubectl(t, "get", "vmi", "-n", namespace, "-o",
		`jsonpath={range .items[?(@.status.name=="rhel-9-golden")]}{.status.type} {.status.firmware} `+
			`{.status.hardwareVersion} {.status.osInfo.type} {.status.disks[0].limit} {.metadata.labels}{end}`))
	if diff := cmp.Diff([]string{"VM", "efi", "19", "rhel9_64Guest", "30Gi"}, image[:min(len(image), 5)]); diff != "" {
		t.Errorf("the image (-want +got):\n%s", diff)
	}
	s.Kubectl(t, "apply", "-n", namespace, "-f", file)
	s.Kubectl(t, "wait", "vm/my-golden", "-n", namespace, "--for=condition=VirtualMachineCreated", "--timeout=60s")
	s.Kubectl(t, "wait", "vm/my-golden", "-n", namespace, "--for=condition=Ready", "--timeout=60s")
	if out, err := s.Try(t.Context(), "kubectl", "diff", "-n", namespace, "-f", file); err != nil {
		t.Errorf("it differs from what was applied: %v\n%s", err, out)
	}
	want := fromTemplate{Guest: "rhel9_64Guest", Firmware: "efi", Version: "vmx-19", Disks: []int64{40}, Folder: true}
	if diff := cmp.Diff(want, shape(t, a, "/DC0/vm/Namespaces/"+namespace+"/my-golden")); diff != "" {
		t.Errorf("it has in vCenter (-want +got):\n%s", diff)
	}
	// The template is as it was.
	want.Disks = []int64{30}
	if diff := cmp.Diff(want, shape(t, a, "/DC0/vm/Templates/rhel-9-golden")); diff != "" {
		t.Errorf("the template has (-want +got):\n%s", diff)
	}
	s.Kubectl(t, "delete", "vm", "my-golden", "-n", namespace, "--timeout=60s")
	if left := datastoreFiles(t, a, "nfs-fast", "my-golden"); len(left) > 0 {
		t.Errorf("of the machine there is left: %v", left)
	}
}
