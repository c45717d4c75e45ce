// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"fmt"
	"net/url"
	"sort"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// machine is what a VM shows of itself, without what runs with the clock.
type machine struct {
	Ref, Name, Folder, Host, Pool, Power, Guest, HostName, IP, Tools string
	UUID, BIOS                                                       string
	Created, Booted                                                  string
	CPUs, MemoryMB                                                   int32
	Adapters                                                         []string
	Disks                                                            []int64
}

func machines(t *testing.T, v *VCenter) []machine {
	t.Helper()
	ctx := context.Background()
	c := login(t, v)
	var vms []mo.VirtualMachine
	cv, err := view.NewManager(c.Client).CreateContainerView(ctx, c.ServiceContent.RootFolder, []string{"VirtualMachine"},
		true)
	if err != nil {
		t.Fatal(err)
	}
	if err := cv.Retrieve(ctx, []string{"VirtualMachine"}, nil, &vms); err != nil {
		t.Fatal(err)
	}
	names := func(ref types.ManagedObjectReference) string {
		var e mo.ManagedEntity
		if err := property.DefaultCollector(c.Client).RetrieveOne(ctx, ref, []string{"name"}, &e); err != nil {
			t.Fatal(err)
		}
		return e.Name
	}
	var all []machine
	for _, vm := range vms {
		m := machine{
			Ref: vm.Self.Value, Name: vm.Name, Folder: names(*vm.Parent), Host: names(*vm.Runtime.Host),
			Power: string(vm.Runtime.PowerState), Guest: vm.Config.GuestId, HostName: vm.Guest.HostName, IP: vm.Guest.IpAddress,
			Tools: vm.Guest.ToolsRunningStatus, UUID: vm.Config.InstanceUuid, BIOS: vm.Config.Uuid,
			Created: fmt.Sprint(vm.Config.CreateDate), CPUs: vm.Config.Hardware.NumCPU, MemoryMB: vm.Config.Hardware.MemoryMB,
		}
		if vm.ResourcePool != nil { // a template takes from none
			m.Pool = names(*vm.ResourcePool)
		}
		if vm.Runtime.BootTime != nil {
			m.Booted = vm.Runtime.BootTime.UTC().Format(time.RFC3339)
		}
		for _, adapter := range vm.Guest.Net {
			m.Adapters = append(m.Adapters, fmt.Sprint(adapter.Network, " ", adapter.MacAddress, " ", adapter.IpAddress))
		}
		for _, device := range vm.Config.Hardware.Device {
			switch d := device.(type) {
			case *types.VirtualDisk:
				m.Disks = append(m.Disks, d.CapacityInKB>>20)
			case types.BaseVirtualEthernetCard:
				m.Adapters = append(m.Adapters, d.GetVirtualEthernetCard().MacAddress)
			}
		}
		all = append(all, m)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Folder+all[i].Name < all[j].Folder+all[j].Name })
	return all
}

func TestSampleIsTheSameEachTime(t *testing.T) {
	begin := time.Now()
	first := Run(t, Options{Inventory: Sample})
	t.Logf("start with the sample: %v", time.Since(begin))
	one, two := machines(t, first), machines(t, Run(t, Options{Inventory: Sample}))
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("a second start differs (-first +second):\n%s", diff)
	}

	count := make(map[string]int)
	for _, m := range one {
		count[m.Folder]++
		count[m.Folder+" "+m.Power]++
		if m.Power == "poweredOn" && (m.IP == "" || m.HostName == "" || m.Tools != "guestToolsRunning" || m.Booted == "") {
			t.Errorf("%s runs without guest facts: %+v", m.Name, m)
		}
		if m.Power != "poweredOn" && (m.IP != "" || m.Tools == "guestToolsRunning") {
			t.Errorf("%s does not run, and reports: %+v", m.Name, m)
		}
	}
	want := map[string]int{
		"team-a": 6, "team-a poweredOn": 4, "team-a poweredOff": 1, "team-a suspended": 1,
		"team-b": 3, "team-b poweredOn": 3, "vm": 1, "vm poweredOn": 1,
		"Infrastructure": 1, "Infrastructure poweredOn": 1, "Backup": 1, "Backup poweredOff": 1,
		"Templates": 1, "Templates poweredOff": 1,
	}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("machines by folder (-want +got):\n%s", diff)
	}
	for _, m := range one {
		if m.Name != "Legacy DB Server" {
			continue
		}
		want := machine{
			Ref: m.Ref, Name: "Legacy DB Server", Folder: "team-a", Host: "esx-b3.lab.pacific.test", Pool: "team-a",
			Power: "poweredOn",
			Guest: "windows2019srv_64Guest", HostName: "LEGACYDB", IP: "10.20.0.77", Tools: "guestToolsRunning", UUID: m.UUID,
			BIOS:    m.BIOS,
			Created: m.Created, Booted: m.Booted, CPUs: 4, MemoryMB: 16384, Disks: []int64{60, 200},
			Adapters: []string{"VM Network " + mac(m.UUID, 0) + " [10.20.0.77]", mac(m.UUID, 0)},
		}
		if diff := cmp.Diff(want, m); diff != "" {
			t.Errorf("a machine (-want +got):\n%s", diff)
		}
	}
}

func TestSampleLibraryAndPolicies(t *testing.T) {
	v := Run(t, Options{Inventory: Sample})
	ctx := context.Background()
	c := login(t, v)
	client := rest.NewClient(c.Client)
	if err := client.Login(ctx, url.UserPassword(v.Username(), "wrong")); err == nil {
		t.Error("the wrong password is accepted by the REST endpoint")
	}
	if err := client.Login(ctx, url.UserPassword(v.Username(), v.Password())); err != nil {
		t.Fatal(err)
	}
	if session, err := client.Session(ctx); err != nil || session == nil {
		t.Fatalf("REST session %v, %v", session, err)
	}
	other := rest.NewClient(login(t, v).Client)
	if err := other.Login(ctx, url.UserPassword(v.Username(), v.Password())); err != nil {
		t.Fatal(err)
	}
	v.TerminateSessions()
	for _, terminated := range []*rest.Client{client, other} {
		if session, err := terminated.Session(ctx); err != nil || session != nil {
			t.Errorf("REST session after the end of all: %v, %v", session, err)
		}
	}
	c = login(t, v)
	client = rest.NewClient(c.Client)
	if err := client.Login(ctx, url.UserPassword(v.Username(), v.Password())); err != nil {
		t.Fatal(err)
	}
	manager := library.NewManager(client)
	images, err := manager.GetLibraryByName(ctx, "Platform images")
	if err != nil {
		t.Fatal(err)
	}
	items, err := manager.GetLibraryItems(ctx, images.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, item := range items {
		files, err := manager.ListLibraryItemFiles(ctx, item.ID)
		if err != nil {
			t.Fatal(err)
		}
		if id := LibraryItemID(images.Name, item.Name); item.ID != id {
			t.Errorf("%s has the identifier %s, want %s", item.Name, item.ID, id)
		}
		got[item.Name] = fmt.Sprintf("%s, %d files", item.Type, len(files))
	}
	want := map[string]string{"ubuntu-24.04": "ovf, 2 files", "photon-5": "ovf, 2 files",
		"debian-12-netinst": "iso, 1 files", "rhel-9-golden": "vm-template, 0 files"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("library items (-want +got):\n%s", diff)
	}

	policies, err := pbm.NewClient(ctx, c.Client)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := policies.QueryProfile(ctx, pbmtypes.PbmProfileResourceType{ResourceType: "STORAGE"}, "REQUIREMENT")
	if err != nil {
		t.Fatal(err)
	}
	profiles, err := policies.RetrieveContent(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, profile := range profiles {
		names[profile.GetPbmProfile().Name] = true
	}
	if !names["Gold Storage"] || !names["Bronze Storage"] || len(names) < 4 {
		t.Errorf("storage policies: %v", names)
	}
}

func TestMachines(t *testing.T) {
	count := 0
	for _, m := range machines(t, Run(t, Options{Inventory: Machines(5)})) {
		if m.Folder == "many" {
			count++
		}
	}
	if count != 5 {
		t.Errorf("%d machines, want 5", count)
	}
}
