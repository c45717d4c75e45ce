// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
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

const linkedManifest = `
apiVersion: vmoperator.vmware.com/v1alpha5
kind: VirtualMachine
metadata: {name: my-linked, namespace: NS, annotations: {vmoperator.vmware.com/fast-deploy: HOW}}
spec:
  className: best-effort-small
  imageName: rhel-9-golden
  storageClass: gold-storage
  powerState: PoweredOff
  CAPACITY
`

// TestLinked has a developer make a machine of linked disks, which stand by themselves once it is on, and looks in vCenter
// at both. What is asked for and cannot be is refused.
func TestLinked(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := s.Shop(t, "linked-shop")
	manifest := func(how, capacity string) string {
		file := filepath.Join(t.TempDir(), "linked.yaml")
		text := strings.NewReplacer("NS", namespace, "HOW", how, "CAPACITY", capacity).Replace(linkedManifest)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for says, file := range map[string]string{
		"spec.advanced.bootDiskCapacity: a linked disk is as large as the image": manifest("linked", "advanced: {bootDiskCapacity: 40Gi}"),
		`supported values: "direct", "linked"`:                                   manifest("likned", ""),
	} {
		if out, err := s.Try(t.Context(), "kubectl", "apply", "-f", file); err == nil || !strings.Contains(out, says) {
			t.Errorf("it is not refused with %q: %v\n%s", says, err, out)
		}
	}
	file, path := manifest("linked", ""), "/DC0/vm/Namespaces/"+namespace+"/my-linked"
	s.Kubectl(t, "apply", "-f", file)
	s.Kubectl(t, "wait", "vm/my-linked", "-n", namespace, "--for=condition=VirtualMachineCreated", "--timeout=60s")
	s.Kubectl(t, "wait", "vm/my-linked", "-n", namespace, "--for=condition=VirtualMachineDiskPromotionSynced=false", "--timeout=60s")
	if out, err := s.Try(t.Context(), "kubectl", "diff", "-f", file); err != nil {
		t.Errorf("it differs from what was applied: %v\n%s", err, out)
	}
	want := fromTemplate{Guest: "rhel9_64Guest", Firmware: "efi", Version: "vmx-19", Disks: []int64{30}, Parents: 1, Folder: true}
	if diff := cmp.Diff(want, shape(t, a, path)); diff != "" {
		t.Errorf("while it is off it has in vCenter (-want +got):\n%s", diff)
	}
	s.Kubectl(t, "patch", "vm", "my-linked", "-n", namespace, "--type=merge", "-p", `{"spec":{"powerState":"PoweredOn"}}`)
	s.Kubectl(t, "wait", "vm/my-linked", "-n", namespace, "--for=condition=VirtualMachineDiskPromotionSynced", "--timeout=60s")
	want.Parents = 0
	if diff := cmp.Diff(want, shape(t, a, path)); diff != "" {
		t.Errorf("once it is on it has in vCenter (-want +got):\n%s", diff)
	}
	s.Kubectl(t, "delete", "vm", "my-linked", "-n", namespace, "--timeout=60s")
	if left := datastoreFiles(t, a, "nfs-fast", "my-linked"); len(left) > 0 {
		t.Errorf("of the machine there is left: %v", left)
	}
	// What it stood on is there for the next one.
	s.Kubectl(t, "apply", "-f", file)
	s.Kubectl(t, "wait", "vm/my-linked", "-n", namespace, "--for=condition=VirtualMachineCreated", "--timeout=60s")
}
