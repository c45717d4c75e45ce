// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/mo"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/facts"
)

// told is what a guest is to be told by a manifest, and what it makes of that.
type told struct {
	Manifest string `json:"-"`
	// Host is what it is called, Address its first one, and Properties are values of vApp properties.
	Host, Address string
	Properties    map[string]string
	// Customized is how vCenter says that it was customised.
	Customized string
}

const machineHead = `
kind: VirtualMachine
metadata: {name: NAME, namespace: NS}
spec:
  className: best-effort-small
  imageName: ubuntu-24.04
  storageClass: bronze-storage
`

// bootstraps are manifests of all providers but cloud-init, which has a test of its own.
var bootstraps = map[string]told{
	"told-linux": {Host: "www", Address: "10.66.201.7", Customized: "TOOLSDEPLOYPKG_SUCCEEDED", Manifest: `
apiVersion: vmoperator.vmware.com/v1alpha5` + machineHead + `
  network:
    hostName: www
    domainName: lab.example.com
    nameservers: [10.66.0.53]
    interfaces: [{name: eth0, addresses: [10.66.201.7/16], gateway4: 10.66.0.1}]
  bootstrap:
    linuxPrep: {hardwareClockIsUTC: true, timeZone: Europe/Zurich, scriptText: {from: {name: guests, key: script}}}
`},
	// The transport of v1alpha1 that is by both.
	"told-ovfenv": {Host: "told-ovfenv", Customized: "TOOLSDEPLOYPKG_SUCCEEDED",
		Properties: map[string]string{"hostname": "of-a-secret", "user-data": "I2Nsb3VkLWNvbmZpZwp7fQo="}, Manifest: `
apiVersion: vmoperator.vmware.com/v1alpha1` + machineHead + `
  powerState: poweredOn
  networkInterfaces: [{networkName: workload-net, networkType: vsphere-distributed}]
  vmMetadata: {secretName: properties, transport: OvfEnv}
`},
	"told-vapp": {Host: "told-vapp.lab", Properties: map[string]string{"hostname": "told-vapp.lab", "user-data": "10.66.202.7 255.255.0.0 10.66.0.1"}, Manifest: `
apiVersion: vmoperator.vmware.com/v1alpha2` + machineHead + `
  network: {interfaces: [{name: eth0, addresses: [10.66.202.7/16], gateway4: 10.66.0.1}]}
  bootstrap:
    vAppConfig:
      properties:
      - {key: hostname, value: {value: "{{ .V1alpha2.VM.Name }}.lab"}}
      - key: user-data
        value: {value: '{{ V1alpha2_FormatIP V1alpha2_FirstIP "" }} {{ V1alpha2_SubnetMask V1alpha2_FirstIP }} {{ (index .V1alpha2.Net.Devices 0).Gateway4 }}'}
`},
	"told-windows": {Host: "WINDOWS", Address: "10.66.203.7", Customized: "TOOLSDEPLOYPKG_SUCCEEDED", Properties: map[string]string{"hostname": "both"}, Manifest: `
apiVersion: vmoperator.vmware.com/v1alpha3` + machineHead + `
  guestID: windows2019srv_64Guest
  network: {hostName: WINDOWS, domainName: example.com, interfaces: [{name: eth0, addresses: [10.66.203.7/16], gateway4: 10.66.0.1}]}
  bootstrap:
    vAppConfig: {properties: [{key: hostname, value: {value: both}}]}
    sysprep:
      sysprep:
        guiRunOnce: {commands: [dir]}
        guiUnattended: {timeZone: 85, password: {name: guests, key: password}}
        identification: {domainAdmin: jane, domainAdminPassword: {name: guests, key: domain_admin_password}}
        userData: {fullName: Jane, orgName: Shop, productID: {name: guests, key: product_id}}
`},
	"told-answers": {Host: "TOLD-ANSWERS", Customized: "TOOLSDEPLOYPKG_SUCCEEDED", Manifest: `
apiVersion: vmoperator.vmware.com/v1alpha4` + machineHead + `
  guestID: windows2019srv_64Guest
  bootstrap:
    sysprep: {rawSysprep: {name: guests, key: unattend}}
`},
}

// TestBootstrap has a developer tell guests what to be, by each provider, and looks at what arrived in vCenter, and at
// what the guests report.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := s.Shop(t, "told-shop")
	s.Kubectl(t, "create", "secret", "generic", "guests", "-n", namespace, "--from-literal=script=#!/bin/sh\n",
		"--from-literal=password=Correct-Horse-7", "--from-literal=domain_admin_password=Correct-Horse-8",
		"--from-literal=product_id=1234", "--from-literal=unattend=<unattend><ComputerName>TOLD-ANSWERS</ComputerName></unattend>")
	s.Kubectl(t, "create", "secret", "generic", "properties", "-n", namespace, "--from-literal=hostname=of-a-secret",
		"--from-literal=user-data=I2Nsb3VkLWNvbmZpZwp7fQo=")
	files := map[string]string{}
	for name, wanted := range bootstraps {
		files[name] = filepath.Join(t.TempDir(), name+".yaml")
		text := strings.NewReplacer("NS", namespace, "NAME", name).Replace(wanted.Manifest)
		if err := os.WriteFile(files[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Kubectl(t, "apply", "-f", files[name])
	}
	for name, wanted := range bootstraps {
		s.Kubectl(t, "wait", "vm/"+name, "-n", namespace, "--for=condition=Ready", "--timeout=120s")
		if out, err := s.Try(t.Context(), "kubectl", "diff", "-f", files[name]); err != nil {
			t.Errorf("%s differs from what was applied: %v\n%s", name, err, out)
		}
		vm := s.get(t, namespace, name)
		customized := meta.FindStatusCondition(vm.Status.Conditions, vmopv1.GuestCustomizationCondition)
		if (customized != nil) != (wanted.Customized != "") || customized != nil && customized.Status != "True" {
			t.Errorf("%s: its customisation: %+v", name, customized)
		}
		ignored := cmpopts.IgnoreFields(told{}, "Manifest")
		got := s.heard(t, a, namespace, vm)
		if wanted.Address == "" {
			got.Address = "" // by DHCP
		}
		if diff := cmp.Diff(wanted, got, ignored, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// What is a secret is in vCenter where it has to be, and in nothing that is shown here.
	shown, err := s.Try(t.Context(), "kubectl", "get", "vm,events", "-n", namespace, "-o", "yaml")
	if err != nil || strings.Contains(shown, "Correct-Horse") {
		t.Errorf("%v, or a password is in\n%s", err, shown)
	}
	s.Kubectl(t, "delete", "vm", "-n", namespace, "--all", "--timeout=60s")
}

// heard is what a guest reports, and what there is of it in vCenter.
func (s *supervisor) heard(t *testing.T, a *supervisortest.Admin, namespace string, vm *vmopv1.VirtualMachine) told {
	t.Helper()
	found, err := find.NewFinder(a.Builder.Client.Client).VirtualMachine(t.Context(), "/DC0/vm/Namespaces/"+namespace+"/"+vm.Name)
	if err != nil {
		t.Fatal(err)
	}
	var p mo.VirtualMachine
	if err := found.Properties(t.Context(), found.Reference(), []string{"config", "guest"}, &p); err != nil {
		t.Fatal(err)
	}
	got := told{Host: vm.Status.Network.HostName, Address: vm.Status.Network.PrimaryIP4, Properties: map[string]string{}}
	if info := p.Guest.CustomizationInfo; info != nil {
		got.Customized = info.CustomizationStatus
	}
	if p.Config.Tools.PendingCustomization != "" {
		t.Errorf("%s: a customisation still waits", vm.Name)
	}
	if left := s.RecordKeys(t).Decode(a.Extra(found, facts.RecordKey)).Head.Build; left != nil {
		t.Errorf("%s: something is left to be made: %v", vm.Name, left)
	}
	for _, property := range p.Config.VAppConfig.GetVmConfigInfo().Property {
		if property.Value != "" {
			got.Properties[property.Id] = property.Value
		}
	}
	return got
}
