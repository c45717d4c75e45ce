// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// install is a machine that an operating system is installed in, and how one looks at it.
type install struct {
	*testing.T
	*supervisor
	admin     *supervisortest.Admin
	namespace string
	vm        *object.VirtualMachine
}

const installer = "debian-12-netinst"

// disc waits until there is an image that vCenter calls so, and returns its name here.
func (i *install) disc(item string) (name string) {
	i.Helper()
	waittest.Within(i.T, polled, "the image "+item+" is there", func(ctx context.Context) error {
		out, err := i.Try(ctx, "kubectl", "get", "vmi", "-n", i.namespace, "-o",
			`jsonpath={.items[?(@.status.name=="`+item+`")].metadata.name}`)
		if name = strings.TrimSpace(out); err == nil && !strings.HasPrefix(name, "vmi-") {
			err = fmt.Errorf("it is called %q", name)
		}
		return err
	})
	return name
}

// other gives the namespace one more ISO image.
func (i *install) other() string {
	i.Helper()
	const library, item = "Installers", "rescue"
	err := i.admin.Builder.Library(i.Context(), library, "nfs-bulk",
		vcentertest.LibraryItem{Name: item, Type: facts.ItemISO})
	if err != nil {
		i.Fatal(err)
	}
	waittest.Within(i.T, polled, "the library is given", func(ctx context.Context) error {
		_, err := i.Try(ctx, "kubectl", "patch", "vns", i.namespace, "--type=merge", "-p",
			`{"spec":{"contentLibraries":["Platform images","`+library+`"]}}`)
		return err
	})
	return i.disc(item)
}

func (i *install) wait(condition string) {
	i.Helper()
	i.Kubectl(i.T, "wait", "vm/my-install", "-n", i.namespace, "--for="+condition, "--timeout=60s")
}

func (i *install) patch(kind, patch string) (string, error) {
	return i.Try(i.Context(), "kubectl", "patch", "vm", "my-install", "-n", i.namespace, "--type="+kind, "-p", patch)
}

func (i *install) patched(kind, patch string) {
	i.Helper()
	if out, err := i.patch(kind, patch); err != nil {
		i.Fatalf("%v\n%s", err, out)
	}
}

func (i *install) refused(kind, patch, says string) {
	i.Helper()
	if out, err := i.patch(kind, patch); err == nil || !strings.Contains(out, says) {
		i.Errorf("%s: %v, want what says %q\n%s", patch, err, says, out)
	}
}

// drives says of the machine's drives in vCenter what is in them: a file, whether it is connected now, will be, and who
// controls that.
func (i *install) drives() (list []string) {
	devices := object.VirtualDeviceList(i.admin.Properties(i.vm).Config.Hardware.Device)
	for _, device := range devices.SelectByType((*types.VirtualCdrom)(nil)) {
		d := device.(*types.VirtualCdrom)
		file := d.Backing.(*types.VirtualCdromIsoBackingInfo).FileName
		list = append(list, fmt.Sprintf("%s %s %t %t %t", devices.Type(devices.FindByKey(d.ControllerKey)),
			file[strings.LastIndex(file, "/")+1:], d.Connectable.Connected, d.Connectable.StartConnected,
			d.Connectable.AllowGuestControl))
	}
	return list
}

// has waits until the machine has drives.
func (i *install) has(want ...string) {
	i.Helper()
	waittest.Within(i.T, time.Minute, "it has its drives in vCenter", func(context.Context) error {
		if diff := cmp.Diff(want, i.drives()); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
}

const besideManifest = `
apiVersion: vmoperator.vmware.com/v1alpha4
kind: VirtualMachine
metadata: {name: my-install, namespace: NS}
spec:
  className: best-effort-small
  imageName: ubuntu-24.04
  storageClass: gold-storage
  guestID: ubuntu64Guest
  cdrom: [{name: tools, image: {name: DISC}, connected: false}]
`

func (i *install) besideDisks(disc string) {
	i.Helper()
	file := filepath.Join(i.TempDir(), "beside.yaml")
	manifest := strings.NewReplacer("NS", i.namespace, "DISC", disc).Replace(besideManifest)
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		i.Fatal(err)
	}
	i.Kubectl(i.T, "apply", "-f", file)
	i.wait("jsonpath={.status.powerState}=PoweredOn")
	if out, err := i.Try(i.Context(), "kubectl", "diff", "-f", file); err != nil {
		i.Errorf("it differs from what was applied: %v\n%s", err, out)
	}
	i.find()
	i.has("ide " + installer + ".iso false false true")
	devices := object.VirtualDeviceList(i.admin.Properties(i.vm).Config.Hardware.Device)
	if disks := devices.SelectByType((*types.VirtualDisk)(nil)); len(disks) != 1 {
		i.Errorf("it has %d disks", len(disks))
	}
}

// find finds the machine in vCenter.
func (i *install) find() {
	i.Helper()
	vm, err := find.NewFinder(i.admin.Builder.Client.Client).VirtualMachine(i.Context(),
		"/DC0/vm/Namespaces/"+i.namespace+"/my-install")
	if err != nil {
		i.Fatal(err)
	}
	i.vm = vm
}

// TestFromAnISO has a developer install a machine from an ISO image, take the disc out and put another one in, and a VI
// admin change the drive in vCenter.
func TestFromAnISO(t *testing.T) {
	t.Parallel()
	s := running(t)
	i := &install{T: t, supervisor: s, admin: s.Admin(t), namespace: s.Shop(t, "iso-shop")}
	const file = "../../../artifacts/samples/virtualmachine-iso.yaml"
	s.Kubectl(t, "apply", "-n", i.namespace, "-f", file)
	i.wait("condition=VirtualMachineCreated")
	i.wait("jsonpath={.status.powerState}=PoweredOn")
	i.wait("condition=VirtualMachineHardwareCDROMVerified")
	if out, err := s.Try(t.Context(), "kubectl", "diff", "-n", i.namespace, "-f", file); err != nil {
		t.Errorf("it differs from what was applied: %v\n%s", err, out)
	}
	i.find()
	vm := i.vm
	i.has("ide " + installer + ".iso true true true")
	config := i.admin.Properties(vm).Config
	disks := object.VirtualDeviceList(config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil))
	if len(disks) != 1 || disks[0].(*types.VirtualDisk).CapacityInBytes != 20<<30 || config.GuestId != "debian12_64Guest" {
		t.Errorf("it has %d disks, for %s", len(disks), config.GuestId)
	}
	disc := i.disc(installer)
	made := s.get(t, i.namespace, "my-install")
	if made.Spec.ImageName != disc || made.Spec.Image == nil || made.Spec.Image.Name != disc {
		t.Errorf("it is made of %q, %v, want %s", made.Spec.ImageName, made.Spec.Image, disc)
	}

	const connected = `[{"op":"replace","path":"/spec/hardware/cdrom/0/connected","value":%t}]`
	t.Run("disconnect and connect", func(t *testing.T) {
		i.T = t
		i.patched("json", fmt.Sprintf(connected, false))
		i.has("ide " + installer + ".iso false false true")
		i.patched("json", fmt.Sprintf(connected, true))
		i.has("ide " + installer + ".iso true true true")
	})
	t.Run("put back", func(t *testing.T) {
		i.T = t
		devices := object.VirtualDeviceList(i.admin.Properties(vm).Config.Hardware.Device)
		device := devices.SelectByType((*types.VirtualCdrom)(nil))[0]
		device.GetVirtualDevice().Connectable = &types.VirtualDeviceConnectInfo{}
		i.admin.Reconfigure(vm, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
			&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: device}}})
		i.has("ide " + installer + ".iso true true true")
	})
	t.Run("not while it is on", func(t *testing.T) {
		i.T = t
		i.refused("merge", `{"spec":{"hardware":{"cdrom":[]}}}`,
			"spec.hardware.cdrom: Forbidden: a CD-ROM drive, such as cd1, can be removed only while")
		i.refused("json", `[{"op":"replace","path":"/spec/hardware/cdrom/0/image/name","value":"vmi-x"}]`,
			"in no content library that is given")
		i.refused("json", `[{"op":"add","path":"/spec/hardware/cdrom/-","value":{"name":"cd2","image":{"name":"`+disc+`"}}}]`,
			"spec.hardware.cdrom[1].image.name: Duplicate value")
	})
	t.Run("another disc while it is off", func(t *testing.T) {
		i.T = t
		put := `[{"op":"replace","path":"/spec/hardware/cdrom/0/image/name","value":"` + i.other() + `"}`
		i.refused("json", put+`]`,
			"spec.hardware.cdrom[0].image: Forbidden: another image can be put into a CD-ROM drive only while")
		i.patched("merge", `{"spec":{"powerState":"PoweredOff","powerOffMode":"Hard"}}`)
		i.wait("jsonpath={.status.powerState}=PoweredOff")
		i.patched("json", put+`,{"op":"replace","path":"/spec/powerState","value":"PoweredOn"}]`)
		i.wait("jsonpath={.status.powerState}=PoweredOn")
		i.has("ide rescue.iso true true true")
	})
	t.Run("removed and put in while it is off", func(t *testing.T) {
		i.T = t
		i.patched("merge", `{"spec":{"powerState":"PoweredOff","powerOffMode":"Hard","hardware":{"cdrom":[]}}}`)
		i.wait("jsonpath={.status.powerState}=PoweredOff")
		i.has()
		i.patched("merge", `{"spec":{"powerState":"PoweredOn","hardware":{"cdrom":[`+
			`{"name":"cd2","allowGuestControl":false,"image":{"name":"`+disc+`"}}]}}}`)
		i.wait("jsonpath={.status.powerState}=PoweredOn")
		i.has("ide " + installer + ".iso true true false")
		i.wait("condition=VirtualMachineHardwareCDROMVerified")
	})
	i.T = t
	s.Kubectl(t, "delete", "vm", "my-install", "-n", i.namespace, "--timeout=60s")
	// A disc beside the disks of an image, by a client of an older version.
	i.besideDisks(disc)
}
