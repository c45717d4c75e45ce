// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/waittest"
)

// machineManifests are of the public documentation's form, one for each age of the API.
var machineManifests = map[string]string{
	"v1alpha1": `
apiVersion: vmoperator.vmware.com/v1alpha1
kind: VirtualMachine
metadata: {name: web-v1alpha1, namespace: NS, labels: {app: web}}
spec:
  className: best-effort-small
  imageName: ubuntu-24.04
  storageClass: bronze-storage
  powerState: poweredOn
  networkInterfaces:
  - networkName: workload-net
    networkType: vsphere-distributed
`,
	"v1alpha2": `
apiVersion: vmoperator.vmware.com/v1alpha2
kind: VirtualMachine
metadata: {name: web-v1alpha2, namespace: NS, labels: {app: web}}
spec:
  className: best-effort-small
  imageName: ubuntu-24.04
  storageClass: bronze-storage
  powerState: PoweredOn
  bootstrap:
    cloudInit:
      rawCloudConfig: {name: web, key: user-data}
`,
	"v1alpha4": `
apiVersion: vmoperator.vmware.com/v1alpha4
kind: VirtualMachine
metadata: {name: web-v1alpha4, namespace: NS, labels: {app: web}}
spec:
  className: best-effort-small
  imageName: ubuntu-24.04
  storageClass: bronze-storage
  network: {interfaces: [{name: eth0, dhcp4: true}]}
  bootstrap:
    cloudInit:
      cloudConfig:
        users: [{name: jane, passwd: {name: people, key: jane}}]
        runcmd: ["ls -al", [echo, "Hello, world."]]
        write_files: [{path: /etc/motd, content: {name: web, key: user-data}}]
`,
	"v1alpha5": `
apiVersion: vmoperator.vmware.com/v1alpha5
kind: VirtualMachine
metadata: {name: web-v1alpha5, namespace: NS, labels: {app: web, topology.kubernetes.io/zone: cluster-b}}
spec:
  className: best-effort-small
  imageName: ubuntu-24.04
  storageClass: gold-storage
  advanced: {bootDiskCapacity: 30Gi}
  network:
    hostName: www
    domainName: lab.example.com
    nameservers: [10.66.0.53]
    interfaces:
    - {name: eth0, addresses: [10.66.200.7/16], gateway4: 10.66.0.1, mtu: 9000}
  bootstrap:
    cloudInit:
      rawCloudConfig: {name: web, key: user-data}
      sshAuthorizedKeys: [ssh-ed25519 AAAA]
`,
}

// TestCreate has a developer make machines of an image, as she would at each age of the API, looks in vCenter at what
// came of it, and deletes them.
func TestCreate(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := s.Shop(t, "create-shop")
	s.Kubectl(t, "create", "secret", "generic", "people", "-n", namespace, "--from-literal=jane=$6$salt$hash")
	// The sample, as README has it.
	s.Kubectl(t, "apply", "-n", namespace, "-f", "../../../artifacts/samples/virtualmachine.yaml")
	s.Kubectl(t, "wait", "vm/my-first-vm", "-n", namespace, "--for=condition=VirtualMachineCreated", "--timeout=60s")
	files := map[string]string{}
	for version, manifest := range machineManifests {
		files[version] = filepath.Join(t.TempDir(), version+".yaml")
		if err := os.WriteFile(files[version], []byte(strings.ReplaceAll(manifest, "NS", namespace)), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Kubectl(t, "apply", "-f", files[version])
	}
	for version, file := range files {
		name := "web-" + version
		s.Kubectl(t, "wait", "vm/"+name, "-n", namespace, "--for=condition=VirtualMachineCreated", "--timeout=60s")
		s.Kubectl(t, "wait", "vm/"+name, "-n", namespace, "--for=jsonpath={.status.powerState}=PoweredOn", "--timeout=60s")
		if out, err := s.Try(t.Context(), "kubectl", "diff", "-f", file); err != nil {
			t.Errorf("%s differs from what was applied: %v\n%s", name, err, out)
		}
		s.arrived(t, a, namespace, s.get(t, namespace, name))
	}
	// The guest has what it was told.
	s.Kubectl(t, "wait", "vm/web-v1alpha5", "-n", namespace, "--for=jsonpath={.status.network.primaryIP4}=10.66.200.7", "--timeout=60s")
	s.Kubectl(t, "delete", "vm", "-n", namespace, "--all", "--timeout=60s")
	for version := range files {
		for _, store := range []string{"nfs-fast", "nfs-bulk"} {
			if left := datastoreFiles(t, a, store, "web-"+version); len(left) > 0 {
				t.Errorf("of web-%s there is left on %s: %v", version, store, left)
			}
		}
	}
}

// arrived looks in vCenter at what a manifest came to.
func (s *supervisor) arrived(t *testing.T, a *supervisortest.Admin, namespace string, vm *vmopv1.VirtualMachine) {
	t.Helper()
	found, err := find.NewFinder(a.Builder.Client.Client).VirtualMachine(t.Context(), "/DC0/vm/Namespaces/"+namespace+"/"+vm.Name)
	if err != nil {
		t.Fatal(err)
	}
	config := a.Properties(found).Config
	type machine struct {
		InstanceUUID, Guest, Firmware string
		CPUs, MemoryMB                int32
		Disks                         []int64
		Cards                         int
		UserData                      string
		Build                         bool
	}
	want := machine{string(vm.UID), "ubuntu64Guest", "efi", 2, 4096, []int64{20 << 30}, 1, "", false}
	switch {
	case strings.HasSuffix(vm.Name, "v1alpha5"):
		want.Disks[0], want.UserData = 30<<30, "#cloud-config\n"
	case strings.HasSuffix(vm.Name, "v1alpha4"):
		want.UserData = "## template: jinja\n#cloud-config\n\nruncmd:\n- ls -al\n- - echo\n  - Hello, world.\n" +
			"users:\n- name: jane\n  passwd: $6$salt$hash\nwrite_files:\n- content: |\n    #cloud-config\n  path: /etc/motd\n"
	case strings.HasSuffix(vm.Name, "v1alpha2"):
		want.UserData = "#cloud-config\n"
	}
	got := machine{InstanceUUID: config.InstanceUuid, Guest: config.GuestId, Firmware: config.Firmware,
		CPUs: config.Hardware.NumCPU, MemoryMB: config.Hardware.MemoryMB}
	devices := object.VirtualDeviceList(config.Hardware.Device)
	for _, disk := range devices.SelectByType((*types.VirtualDisk)(nil)) {
		got.Disks = append(got.Disks, disk.(*types.VirtualDisk).CapacityInBytes)
	}
	got.Cards = len(devices.SelectByType((*types.VirtualVmxnet3)(nil)))
	for _, option := range config.ExtraConfig {
		switch value := option.GetOptionValue(); value.Key {
		case "guestinfo.userdata":
			got.UserData = unpacked(t, value.Value.(string))
		case facts.RecordKey:
			got.Build = s.RecordKeys(t).Decode(value.Value.(string)).Head.Build != nil
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s in vCenter (-want +got):\n%s", vm.Name, diff)
	}
	if zone := vm.Labels["topology.kubernetes.io/zone"]; strings.HasSuffix(vm.Name, "v1alpha5") && vm.Status.Zone != "cluster-b" {
		t.Errorf("%s runs in the zone %q, its label says %q", vm.Name, vm.Status.Zone, zone)
	}
	if !meta.IsStatusConditionTrue(vm.Status.Conditions, vmopv1.VirtualMachinePowerStateSynced) || vm.Spec.Image == nil {
		t.Errorf("%s: image %v, conditions %+v", vm.Name, vm.Spec.Image, vm.Status.Conditions)
	}
}

// TestDiffStaysSilent: what was applied goes on being what kubectl reads, also when the guest has reported and whoever
// looks at things every so often has come by.
func TestDiffStaysSilent(t *testing.T) {
	t.Parallel()
	s := running(t)
	namespace := s.Shop(t, "silent-shop")
	const sample = "../../../artifacts/samples/virtualmachine.yaml"
	s.Kubectl(t, "apply", "-n", namespace, "-f", sample)
	silent := func(when string) {
		t.Helper()
		if out, err := s.Try(t.Context(), "kubectl", "diff", "-n", namespace, "-f", sample); err != nil {
			t.Errorf("%s it differs from what was applied: %v\n%s", when, err, out)
		}
	}
	silent("right after apply")
	s.Kubectl(t, "wait", "vm/my-first-vm", "-n", namespace, "--for=condition=Ready", "--timeout=90s")
	silent("when it is Ready")
	began := time.Now()
	waittest.Within(t, 2*time.Minute, "a minute to pass", func(context.Context) error {
		if passed := time.Since(began); passed < time.Minute {
			return fmt.Errorf("%s have", passed)
		}
		return nil
	})
	silent("a minute later")
	s.Kubectl(t, "delete", "vm/my-first-vm", "-n", namespace, "--timeout=60s")
}

// unpacked is what a guest reads.
func unpacked(t *testing.T, value string) string {
	t.Helper()
	packed, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// datastoreFiles are the files in a folder of a datastore.
func datastoreFiles(t *testing.T, a *supervisortest.Admin, store, folder string) (names []string) {
	t.Helper()
	datastore, err := find.NewFinder(a.Builder.Client.Client).Datastore(t.Context(), "/DC0/datastore/"+store)
	if err != nil {
		t.Fatal(err)
	}
	browser, err := datastore.Browser(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	task, err := browser.SearchDatastore(t.Context(), datastore.Path(folder),
		&types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := task.WaitForResult(t.Context())
	if err != nil {
		return nil // there is no such folder
	}
	for _, file := range info.Result.(types.HostDatastoreBrowserSearchResults).File {
		names = append(names, file.GetFileInfo().Path)
	}
	slices.Sort(names)
	return names
}

// TestCreateAndItsMistakes has people ask for what cannot be: nothing is made, and each is told what to do.
func TestCreateAndItsMistakes(t *testing.T) {
	t.Parallel()
	s := running(t)
	namespace := s.Shop(t, "mistakes-shop")
	// Files are called as the machine is, and another test counts those of the manifest's name.
	base := strings.NewReplacer("NS", namespace, "web-v1alpha5", "mistake").Replace(machineManifests["v1alpha5"])
	for _, mistake := range []struct{ from, to, says string }{
		{"best-effort-small", "huge", `spec.className: the class "huge" is not given`},
		{"imageName: ubuntu-24.04", "imageName: nothing", `spec.imageName: the image "nothing" is in no content library that is given`},
		{"gold-storage", "tin", `spec.storageClass: the storage class "tin" is not given`},
		{"30Gi", "1Gi", "spec.advanced.bootDiskCapacity: the image's disk has 20480 MiB already"},
		{"name: eth0, ", `name: eth0, macAddr: "00:50:56:80:00:01", `, "spec.network.interfaces[0].macAddr: Forbidden: is chosen by"},
		{"10.66.200.7/16", "10.66.200.7", `spec.network.interfaces[0].addresses[0]: Invalid value: "10.66.200.7"`},
		{"  bootstrap:\n", "  bootstrap:\n    linuxPrep: {}\n", "spec.bootstrap.linuxPrep: Forbidden: cannot be used together with cloudInit"},
		{"cloudInit:\n      rawCloudConfig: {name: web, key: user-data}\n      sshAuthorizedKeys: [ssh-ed25519 AAAA]", "linuxPrep: {}", "spec.network.interfaces[0].mtu: Forbidden: is told to a guest by spec.bootstrap.cloudInit alone"},
		{"cluster-b", "cluster-z", `the namespace has no zone "cluster-z"`},
		{"name: mistake", "name: " + strings.Repeat("a", 81), "metadata.name: Too long"},
		{"className: best-effort-small", "powerState: Suspended", "spec.powerState: Invalid value"},
	} {
		file := filepath.Join(t.TempDir(), "vm.yaml")
		if err := os.WriteFile(file, []byte(strings.Replace(base, mistake.from, mistake.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := s.Try(t.Context(), "kubectl", "create", "-f", file)
		if err == nil || !strings.Contains(out, mistake.says) {
			t.Errorf("%s for %s: %v\n%s\nwant %s", mistake.to, mistake.from, err, out, mistake.says)
		}
	}
	if names := s.Names(t, namespace); len(names) > 0 {
		t.Errorf("there are %v", names)
	}

	// A Secret that is not there holds the machine up, and is said; when it comes, the machine is made to its end.
	file := filepath.Join(t.TempDir(), "vm.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(base, "{name: web, key", "{name: later, key", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "create", "-f", file)
	waittest.Within(t, 30*time.Second, "it is said what it waits for", func(context.Context) error {
		created := meta.FindStatusCondition(s.get(t, namespace, "mistake").Status.Conditions, vmopv1.VirtualMachineConditionCreated)
		if created == nil || !strings.Contains(created.Message, `there is no Secret "later" with a key "user-data"`) {
			return fmt.Errorf("condition %+v", created)
		}
		return nil
	})
	s.Kubectl(t, "create", "secret", "generic", "later", "-n", namespace, "--from-literal=user-data=#cloud-config\n")
	s.Kubectl(t, "wait", "vm/mistake", "-n", namespace, "--for=condition=VirtualMachineCreated", "--timeout=60s")
	s.Kubectl(t, "delete", "vm", "-n", namespace, "--all", "--timeout=60s")
}
