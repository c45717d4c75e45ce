// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// wiredManifest has a place for its interfaces.
const wiredManifest = `
apiVersion: vmoperator.vmware.com/v1alpha5
kind: VirtualMachine
metadata: {name: wired, namespace: NS}
spec:
  className: best-effort-small
  imageName: ubuntu-24.04
  storageClass: gold-storage
  powerOffMode: Hard
  network: {interfaces: INTERFACES}
  bootstrap:
    cloudInit:
      rawCloudConfig: {name: wired, key: user-data}
`

// wired is a machine whose network is changed, and how one looks at it.
type wired struct {
	*testing.T
	*supervisor
	admin           *supervisortest.Admin
	namespace, name string
	vm              *object.VirtualMachine
	groups          map[string]string // port groups' names, by their keys
}

// apply has the machine have interfaces.
func (w *wired) apply(interfaces string) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "wired.yaml")
	text := strings.NewReplacer("NS", w.namespace, "INTERFACES", interfaces).Replace(wiredManifest)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	w.Kubectl(w.T, "apply", "-f", file)
	w.wait("condition=VirtualMachineNetworkReady")
	if out, err := w.Try(w.Context(), "kubectl", "diff", "-f", file); err != nil {
		w.Errorf("it differs from what was applied: %v\n%s", err, out)
	}
}

func (w *wired) wait(condition string) {
	w.Helper()
	w.Kubectl(w.T, "wait", "vm/"+w.name, "-n", w.namespace, "--for="+condition, "--timeout=60s")
}

func (w *wired) patch(spec string) (string, error) {
	return w.Try(w.Context(), "kubectl", "patch", "vm", w.name, "-n", w.namespace, "--type=merge", "-p", `{"spec":`+spec+`}`)
}

// find finds the machine in vCenter.
func (w *wired) find() {
	w.Helper()
	vm, err := find.NewFinder(w.admin.Builder.Client.Client).VirtualMachine(w.Context(),
		"/DC0/vm/Namespaces/"+w.namespace+"/"+w.name)
	if err != nil {
		w.Fatal(err)
	}
	w.vm = vm
}

// cards are the machine's network cards in vCenter, in the order of their keys.
func (w *wired) cards() object.VirtualDeviceList {
	w.Helper()
	return object.VirtualDeviceList(w.admin.Properties(w.vm).Config.Hardware.Device).
		SelectByType((*types.VirtualEthernetCard)(nil))
}

// macs are the addresses of the cards, by their keys, and where those are.
func (w *wired) macs() (addresses map[int32]string, networks []string) {
	w.Helper()
	addresses = map[int32]string{}
	for _, card := range w.cards() {
		is := card.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard()
		addresses[is.Key] = is.MacAddress
		network := "VM Network"
		if backing, ok := is.Backing.(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo); ok {
			network = w.groups[backing.Port.PortgroupKey]
		}
		networks = append(networks, fmt.Sprintf("%d %s", is.Key, network))
	}
	slices.Sort(networks)
	return addresses, networks
}

// has waits until the machine has cards at networks, and returns their addresses.
func (w *wired) has(want ...string) (addresses map[int32]string) {
	w.Helper()
	waittest.Within(w.T, time.Minute, "it has its cards in vCenter", func(context.Context) error {
		var got []string
		if addresses, got = w.macs(); !cmp.Equal(want, got) || len(addresses) != len(want) {
			return fmt.Errorf("it has %v, want %v", got, want)
		}
		return nil
	})
	return addresses
}

// told waits until the guest is told, by what cloud-init reads, of interfaces with addresses.
func (w *wired) told(want map[string]string) {
	w.Helper()
	waittest.Within(w.T, time.Minute, "its guest is told", func(context.Context) error {
		var told struct {
			Network struct {
				Ethernets map[string]struct {
					Match struct{ MACAddress string }
				}
			}
		}
		if err := json.Unmarshal([]byte(unpacked(w.T, w.admin.Extra(w.vm, "guestinfo.metadata"))), &told); err != nil {
			return err
		}
		got := map[string]string{}
		for name, ethernet := range told.Network.Ethernets {
			got[name] = ethernet.Match.MACAddress
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
}

// hears waits until there is an Event about the machine.
func (w *wired) hears(reason, says string) {
	w.Helper()
	waittest.Within(w.T, time.Minute, "there is an Event", func(ctx context.Context) error {
		out, err := w.Try(ctx, "kubectl", "get", "events", "-n", w.namespace, "-o",
			"jsonpath={range .items[?(@.involvedObject.name=='"+w.name+"')]}{.reason}: {.message}{'\\n'}{end}")
		if err == nil && !strings.Contains(out, reason+": "+says) {
			err = fmt.Errorf("none says %q of\n%s", says, out)
		}
		return err
	})
}

// plug changes the machine's cards in vCenter.
func (w *wired) plug(operation types.VirtualDeviceConfigSpecOperation, card types.BaseVirtualDevice) {
	w.Helper()
	w.admin.Reconfigure(w.vm, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{Operation: operation, Device: card}}})
}

// at is what connects a card to a network.
func (w *wired) at(network string) types.BaseVirtualDeviceBackingInfo {
	w.Helper()
	found, err := find.NewFinder(w.admin.Builder.Client.Client).Network(w.Context(), "/DC0/network/"+network)
	if err != nil {
		w.Fatal(err)
	}
	backing, err := found.EthernetCardBackingInfo(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return backing
}

// TestNetwork has a developer change the network of a machine that runs, and of one that Pacific did not make, and a VI
// admin change both in vCenter.
func TestNetwork(t *testing.T) {
	t.Parallel()
	s := running(t)
	w := &wired{T: t, supervisor: s, admin: s.Admin(t), namespace: s.Shop(t, "wired-shop"), name: "wired",
		groups: map[string]string{}}
	s.Kubectl(t, "patch", "vns", w.namespace, "--type=merge", "-p", `{"spec":{"networks":["workload-net","management-net"]}}`)
	s.Kubectl(t, "create", "secret", "generic", "wired", "-n", w.namespace,
		"--from-literal=user-data=#cloud-config\nupdates: {network: {when: [boot]}}\n")
	w.apply(`[{name: eth0}]`)
	w.wait("condition=Ready")
	w.find()
	for _, name := range []string{"workload-net", "management-net"} {
		w.groups[w.at(name).(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo).Port.PortgroupKey] = name
	}
	first := w.has("4000 workload-net")
	w.told(map[string]string{"eth0": first[4000]})

	const edit, remove, add = types.VirtualDeviceConfigSpecOperationEdit, types.VirtualDeviceConfigSpecOperationRemove,
		types.VirtualDeviceConfigSpecOperationAdd
	t.Run("one more", func(t *testing.T) {
		w.T = t
		w.apply(`[{name: eth0}, {name: eth1, network: {name: management-net}}]`)
		both := w.has("4000 workload-net", "4001 management-net")
		w.told(map[string]string{"eth0": first[4000], "eth1": both[4001]})
		w.hears("ConfigurationAsDeclared", "It has its network cards as declared")
		shown := s.get(t, w.namespace, w.name).Status.Network.Interfaces
		if len(shown) != 2 || shown[0].Name != "eth0" || shown[1].Name != "eth1" || shown[1].IP.MACAddr != both[4001] {
			t.Errorf("its interfaces are %+v", shown)
		}
	})
	t.Run("another network", func(t *testing.T) {
		w.T = t
		w.apply(`[{name: eth0, network: {name: management-net}}, {name: eth1, network: {name: management-net}}]`)
		if moved := w.has("4000 management-net", "4001 management-net"); moved[4000] != first[4000] {
			t.Errorf("its address was %s and is %s", first[4000], moved[4000])
		}
	})
	t.Run("one less", func(t *testing.T) {
		w.T = t
		second := w.has("4000 management-net", "4001 management-net")[4001]
		w.apply(`[{name: eth1, network: {name: management-net}}]`)
		if left := w.has("4001 management-net"); left[4001] != second {
			t.Errorf("the one that is left was %s and is %s", second, left[4001])
		}
		w.told(map[string]string{"eth1": second})
	})
	t.Run("addresses", func(t *testing.T) {
		w.T = t
		w.apply(`[{name: eth1, network: {name: management-net}, addresses: [10.66.205.9/16]}]`)
		w.wait(`jsonpath={.status.conditions[?(@.type=="VirtualMachineGuestNetworkConfigSynced")].reason}=NotSynced`)
		if out, err := w.patch(`{"nextRestartTime":"now","restartMode":"Hard"}`); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		w.wait("condition=VirtualMachineGuestNetworkConfigSynced")
		w.wait("jsonpath={.status.network.primaryIP4}=10.66.205.9")
	})
	t.Run("while it is off", func(t *testing.T) {
		w.T = t
		if out, err := w.patch(`{"powerState":"PoweredOff"}`); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		w.wait("jsonpath={.status.powerState}=PoweredOff")
		w.apply(`[{name: eth0}, {name: eth1, network: {name: management-net}, addresses: [10.66.205.9/16]}]`)
		both := w.has("4000 workload-net", "4001 management-net")
		w.told(map[string]string{"eth0": both[4000], "eth1": both[4001]})
		if out, err := w.patch(`{"powerState":"PoweredOn"}`); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		w.wait("condition=Ready")
	})
	t.Run("what it may not", func(t *testing.T) {
		w.T = t
		for patch, says := range map[string]string{
			`{"network":{"interfaces":[{"name":"eth0","network":{"name":"VM Network"}}]}}`:           `network "VM Network" is not given`,
			`{"network":{"interfaces":[{"name":"eth0"},{"name":"eth0"}]}}`:                           "Duplicate value",
			`{"network":{"interfaces":[{"name":"eth0","macAddr":"00:50:56:80:00:01"}]}}`:             "is chosen by vCenter",
			`{"network":{"disabled":true,"interfaces":[{"name":"eth0"}]}}`:                           "cannot be given while",
			`{"network":{"interfaces":[{"name":"eth0","addresses":["10.66.1.1/16"],"dhcp4":true}]}}`: "cannot be used with IPv4 addresses",
		} {
			if out, err := w.patch(patch); err == nil || !strings.Contains(out, says) {
				t.Errorf("%s: %v\n%s", patch, err, out)
			}
		}
	})
	t.Run("put back", func(t *testing.T) {
		w.T = t
		before := w.has("4000 workload-net", "4001 management-net")
		card := w.cards().FindByKey(4000)
		card.GetVirtualDevice().Backing = w.at("VM Network")
		w.plug(edit, card)
		w.hears("Overruled", "It was changed in vCenter")
		w.wait("condition=VirtualMachineNetworkReady")
		if after := w.has("4000 workload-net", "4001 management-net"); after[4000] != before[4000] {
			t.Errorf("its address was %s and is %s", before[4000], after[4000])
		}
		w.plug(remove, w.cards().FindByKey(4001))
		waittest.Within(t, time.Minute, "there is another one", func(context.Context) error {
			if now, _ := w.macs(); len(now) != 2 || now[4001] == before[4001] {
				return fmt.Errorf("it has %v", now)
			}
			return nil
		})
		now := w.has("4000 workload-net", "4001 management-net")
		w.told(map[string]string{"eth0": now[4000], "eth1": now[4001]})
		more := new(types.VirtualE1000)
		more.Backing = w.at("VM Network")
		w.plug(add, more)
		w.has("4000 workload-net", "4001 management-net")
	})
	t.Run("left alone while it is paused", func(t *testing.T) {
		w.T = t
		const pause = "vmoperator.vmware.com/paused"
		s.Kubectl(t, "annotate", "vm", w.name, "-n", w.namespace, pause+"=true")
		w.plug(remove, w.cards().FindByKey(4001))
		w.wait("condition=VirtualMachineNetworkReady=false")
		w.has("4000 workload-net")
		s.Kubectl(t, "annotate", "vm", w.name, "-n", w.namespace, pause+"-")
		w.has("4000 workload-net", "4001 management-net")
	})
	t.Run("of a machine that Pacific did not make", func(t *testing.T) {
		w.T = t
		w.name = "adopted"
		w.vm = w.admin.Create(w.namespace, w.name, types.VirtualMachinePowerStatePoweredOn)
		more := new(types.VirtualE1000)
		more.Backing = w.at("VM Network")
		w.plug(add, more)
		s.Kubectl(t, "label", "vm", w.name, "-n", w.namespace, "--overwrite", "mine=yes")
		_, before := w.macs()
		if out, err := w.patch(`{"network":{"interfaces":[{"name":"eth0","network":{"name":"workload-net"}}]}}`); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		w.wait("condition=VirtualMachineNetworkReady")
		w.has(strings.Fields(before[0])[0] + " workload-net")
	})
}
