// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vmdk"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/policy"
)

// LibraryItem is an item of a content library. Its files are as small as they
// can be: an OVF descriptor with an empty disk, or an empty ISO image.
type LibraryItem struct {
	Name, Type, Description string
	// Descriptor is the OVF descriptor; empty is one of a Linux machine with two CPUs, 4 GiB and a disk of 20 GiB.
	Descriptor string
	// OS, Vendor, Product and Version are what that one says of the operating system, in vCenter's words, and of the
	// product.
	OS, Vendor, Product, Version string
	// Template is the machine whose template an item of the type vm-template stands for, apart from its name.
	Template *VM
}

const descriptor = `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References><File ovf:href="disk-0.vmdk" ovf:id="file1" ovf:size="0"/></References>
  <DiskSection><Info>Disks</Info>
    <Disk ovf:capacity="20" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="vmdisk1" ovf:fileRef="file1"/></DiskSection>
  <NetworkSection><Info>Networks</Info><Network ovf:name="VM Network"><Description>VM Network</Description></Network></NetworkSection>
  <VirtualSystem ovf:id="%[1]s"><Info>A virtual machine</Info><Name>%[1]s</Name>
    <OperatingSystemSection ovf:id="94" vmw:osType="%[2]s"><Info>The guest</Info><Description>Linux (64-bit)</Description></OperatingSystemSection>
    <ProductSection><Info>The product</Info><Product>%[4]s</Product><Vendor>%[3]s</Vendor><Version>%[5]s</Version>
      <Property ovf:key="capabilities.image.vmoperator.vmware.com" ovf:type="string" ovf:value="cloud-init"/>
      <Property ovf:key="vmware-system.compatibilityoffering.type" ovf:type="string" ovf:value="pacific-sample"/>
      <Property ovf:key="hostname" ovf:type="string" ovf:userConfigurable="true" ovf:value="localhost"/>
      <Property ovf:key="user-data" ovf:type="string" ovf:userConfigurable="true"/></ProductSection>
    <VirtualHardwareSection ovf:transport="com.vmware.guestInfo"><Info>Hardware</Info>
      <System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-21</vssd:VirtualSystemType></System>
      <Item><rasd:ElementName>2 virtual CPUs</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>4096 MB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>4096</rasd:VirtualQuantity></Item>
      <Item><rasd:ElementName>SCSI controller 0</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>Hard disk 1</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType></Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`

// emptyDisk is the header and the descriptor of a stream-optimised disk without
// contents: what the simulator wants to see of an uploaded disk.
func emptyDisk(gigabytes int64) (string, error) {
	var info vmdk.Info
	info.Header.MagicNumber, info.Header.Version, info.Header.Flags = 0x564d444b, 3, 1<<16
	info.Header.Capacity = gigabytes << 30 / vmdk.SectorSize
	var disk bytes.Buffer
	if err := binary.Write(&disk, binary.LittleEndian, info.Header); err != nil {
		return "", fmt.Errorf("write the header of a disk: %w", err)
	}
	extent := vmdk.Extent{Type: "SPARSE", Permission: "RW", Size: info.Header.Capacity, Info: "disk-0.vmdk"}
	if err := vmdk.NewDescriptor(extent).Write(&disk); err != nil {
		return "", fmt.Errorf("write the descriptor of a disk: %w", err)
	}
	return disk.String(), nil
}

// Library makes a local content library with items on a datastore.
func (b *Builder) Library(ctx context.Context, name, datastore string, items ...LibraryItem) error {
	if err := b.library(ctx, name, datastore, items); err != nil {
		return fmt.Errorf("create content library %q: %w", name, err)
	}
	return nil
}

func (b *Builder) library(ctx context.Context, name, datastore string, items []LibraryItem) error {
	ds, err := b.finder.Datastore(ctx, datastore)
	if err != nil {
		return err
	}
	client := rest.NewClient(b.Client.Client)
	if err := client.Login(ctx, b.User); err != nil {
		return err
	}
	defer func() { _ = client.Logout(ctx) }()
	manager := library.NewManager(client)
	id, err := manager.CreateLibrary(ctx, library.Library{
		Name: name, Type: "LOCAL", Storage: []library.StorageBacking{{DatastoreID: ds.Reference().Value, Type: "DATASTORE"}},
	})
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := b.add(ctx, manager, id, item); err != nil {
			return fmt.Errorf("item %q: %w", item.Name, err)
		}
	}
	return nil
}

// AddLibraryItem makes an item in the content library of that name.
func (b *Builder) AddLibraryItem(ctx context.Context, libraryName string, item LibraryItem) error {
	return b.inLibrary(ctx, libraryName, item, func(manager *library.Manager, id string) error {
		return b.add(ctx, manager, id, item)
	})
}

// UpdateLibraryItem puts the files of another item into the one of its name.
func (b *Builder) UpdateLibraryItem(ctx context.Context, libraryName string, item LibraryItem) error {
	return b.inLibrary(ctx, libraryName, item, func(manager *library.Manager, id string) error {
		items, err := manager.FindLibraryItems(ctx, library.FindItem{LibraryID: id, Name: item.Name})
		if err != nil {
			return err
		}
		if len(items) != 1 {
			return fmt.Errorf("there are %d of that name", len(items))
		}
		return b.upload(ctx, manager, items[0], item)
	})
}

// inLibrary does something about an item in the library of that name.
func (b *Builder) inLibrary(ctx context.Context, name string, item LibraryItem,
	do func(manager *library.Manager, id string) error) error {
	client := rest.NewClient(b.Client.Client)
	err := client.Login(ctx, b.User)
	if err == nil {
		defer func() { _ = client.Logout(ctx) }()
		manager := library.NewManager(client)
		var found []string
		found, err = manager.FindLibrary(ctx, library.Find{Name: name})
		switch {
		case err != nil:
		case len(found) != 1:
			err = fmt.Errorf("there are %d libraries of that name", len(found))
		default:
			err = do(manager, found[0])
		}
	}
	if err != nil {
		return fmt.Errorf("item %q of content library %q: %w", item.Name, name, err)
	}
	return nil
}

// add makes an item.
func (b *Builder) add(ctx context.Context, manager *library.Manager, libraryID string, item LibraryItem) error {
	if item.Template != nil {
		return b.addTemplate(ctx, manager.Client, libraryID, item)
	}
	made, err := manager.CreateLibraryItem(ctx, library.Item{
		Name: item.Name, Type: item.Type, Description: &item.Description, LibraryID: libraryID,
	})
	if err != nil {
		return err
	}
	return b.upload(ctx, manager, made, item)
}

// files are the contents of an item.
func (i LibraryItem) files() (map[string]string, error) {
	if i.Type != library.ItemTypeOVF {
		return map[string]string{i.Name + ".iso": ""}, nil
	}
	text := i.Descriptor
	if text == "" {
		text = fmt.Sprintf(descriptor, i.Name, cmp.Or(i.OS, "otherLinux64Guest"), cmp.Or(i.Vendor, "pacific.test"),
			cmp.Or(i.Product, i.Name), cmp.Or(i.Version, "1"))
	}
	disk, err := emptyDisk(20)
	return map[string]string{i.Name + ".ovf": text, "disk-0.vmdk": disk}, err
}

func (b *Builder) upload(ctx context.Context, manager *library.Manager, id string, item LibraryItem) error {
	files, err := item.files()
	if err != nil {
		return err
	}
	session, err := manager.CreateLibraryItemUpdateSession(ctx, library.Session{LibraryItemID: id})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		size := int64(len(files[name]))
		file, err := manager.AddLibraryItemFile(ctx, session, library.UpdateFile{Name: name, SourceType: "PUSH", Size: size})
		if err != nil {
			return err
		}
		target, err := url.Parse(file.UploadEndpoint.URI)
		if err != nil {
			return err
		}
		upload := soap.DefaultUpload
		upload.ContentLength = size
		if err := manager.Upload(ctx, strings.NewReader(files[name]), target, &upload); err != nil {
			return err
		}
	}
	return manager.CompleteLibraryItemUpdateSession(ctx, session)
}

// profile is how a specification names a storage policy.
func (b *Builder) profile(ctx context.Context, named string) ([]types.BaseVirtualMachineProfileSpec, error) {
	if named == "" {
		return nil, nil
	}
	id, err := lookup(b, "storage policy", named, func(name string) (string, error) {
		client, err := pbm.NewClient(ctx, b.Client.Client)
		if err != nil {
			return "", err
		}
		return client.ProfileIDByName(ctx, name)
	})
	if err != nil {
		return nil, fmt.Errorf("find storage policy %q: %w", named, err)
	}
	return []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: id}}, nil
}

// StoragePolicy makes a VM storage policy, beside those that every vCenter has, which these datastores satisfy; none is
// that all do.
func (b *Builder) StoragePolicy(ctx context.Context, name, description string, datastores ...string) error {
	client, err := pbm.NewClient(ctx, b.Client.Client)
	if err == nil {
		_, err = client.CreateProfile(ctx, pbmtypes.PbmCapabilityProfileCreateSpec{
			Name: name, Description: description,
			Category:     string(pbmtypes.PbmProfileCategoryEnumREQUIREMENT),
			ResourceType: pbmtypes.PbmProfileResourceType{ResourceType: string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)},
			Constraints:  policy.SatisfiedBy(datastores...),
		})
	}
	if err != nil {
		return fmt.Errorf("create storage policy %q: %w", name, err)
	}
	return nil
}
