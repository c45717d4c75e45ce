// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

// Create makes a machine without disks, with its record, which says what is left to be made of it. One that was made by
// the same record before, by an attempt whose answer was lost, is the one that is returned; another one of that name is
// a failure.AlreadyExists.
func (v *Verbs) Create(ctx context.Context, shell facts.Shell, head facts.Head, body []byte) (facts.ID, error) {
	operation := fmt.Sprintf("create virtual machine %q", shell.Name)
	head.Build = &shell.Build
	record, err := v.Keys.Encode(head, body)
	if err != nil {
		return facts.ID{}, err
	}
	info, err := v.Writer.RunTask(ctx, operation, func(ctx context.Context, client *vim25.Client) (reference, error) {
		folder, err := vcenter.Refer(client, shell.Folder)
		if err != nil {
			return reference{}, err
		}
		spec, err := v.configuration(ctx, client, shell)
		if err != nil {
			return reference{}, err
		}
		spec.ExtraConfig = options(map[string]string{
			facts.RecordKey: record, NamespacedNameKey: head.Namespace + "/" + head.Name,
			// So that a guest knows its disks by the ids that vCenter tells.
			"disk.enableUUID": "TRUE",
		})
		request := &types.CreateVM_Task{This: folder, Config: spec, Pool: refer(shell.Pool)}
		if !shell.Host.IsZero() {
			host := refer(shell.Host)
			request.Host = &host
		}
		response, err := methods.CreateVM_Task(ctx, client, request)
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	})
	if err == nil {
		made, ok := info.Result.(reference)
		if !ok {
			return facts.ID{}, fmt.Errorf("%s: vCenter does not say what it has made: %w", operation, failure.Unavailable)
		}
		return facts.ID{VCenter: shell.Folder.VCenter, Type: made.Type, Value: made.Value}, nil
	}
	if !errors.Is(err, failure.AlreadyExists) && !errors.Is(err, failure.Unavailable) && !errors.Is(err, failure.Timeout) {
		return facts.ID{}, err
	}
	if made, found := v.madeBefore(ctx, shell, head, err); found {
		return made, nil
	}
	return facts.ID{}, err
}

// madeBefore looks whether the machine is there in spite of an error.
func (v *Verbs) madeBefore(ctx context.Context, shell facts.Shell, head facts.Head, cause error) (facts.ID, bool) {
	var id facts.ID
	err := v.Writer.Do(ctx, fmt.Sprintf("look for virtual machine %q", shell.Name),
		func(ctx context.Context, client *vim25.Client) error {
			var taken *types.DuplicateName
			if _, is := fault.As(cause, &taken); is {
				id = vcenter.Identify(client, taken.Object)
			} else {
				answer, err := methods.FindChild(ctx, client, &types.FindChild{
					This: *client.ServiceContent.SearchIndex, Entity: refer(shell.Folder), Name: shell.Name,
				})
				if err != nil || answer.Returnval == nil {
					return errors.Join(err, failure.NotFound)
				}
				id = vcenter.Identify(client, *answer.Returnval)
			}
			if id.Type != facts.TypeMachine {
				return failure.NotFound
			}
			now, err := v.read(ctx, client, id)
			if err != nil {
				return err
			}
			if now.Head == nil || now.Unproven != "" || now.Head.UID != head.UID || !strings.EqualFold(now.InstanceUUID, head.UID) {
				return failure.NotFound
			}
			return nil
		})
	return id, err == nil
}

// configuration is that of a machine without disks.
func (v *Verbs) configuration(ctx context.Context, client *vim25.Client,
	shell facts.Shell) (types.VirtualMachineConfigSpec, error) {
	spec := types.VirtualMachineConfigSpec{
		Name: shell.Name, Uuid: shell.BIOSUUID, InstanceUuid: shell.InstanceUUID, Annotation: notice,
		GuestId: shell.GuestID, Firmware: shell.Firmware, Version: shell.HardwareVersion,
		NumCPUs: shell.CPUs, MemoryMB: shell.MemoryMB,
		CpuAllocation: allocation(shell.CPU), MemoryAllocation: allocation(shell.Memory),
		Files:     &types.VirtualMachineFileInfo{VmPathName: "[" + shell.Datastore + "]"},
		VmProfile: profile(shell.Policy), VAppConfig: newProperties(shell.Properties),
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd,
			Device: &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
				SharedBus:         types.VirtualSCSISharingNoSharing,
				VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: -1}},
			}},
		}},
	}
	if spec.GuestId == "" {
		spec.GuestId = string(types.VirtualMachineGuestOsIdentifierOtherGuest64)
	}
	for number, link := range shell.Cards {
		backing, err := v.backing(ctx, client, link)
		if err != nil {
			return spec, err
		}
		spec.DeviceChange = append(spec.DeviceChange, newCardAt(backing, int32(newCard-number)))
	}
	return spec, nil
}

// backings are what network cards need to know of networks: what never changes as long as those are there.
type backings struct {
	// client is the login by which they were read. What has an id may be something else when vCenter was restored,
	// which takes all logins.
	client *vim25.Client
	known  map[reference]types.BaseVirtualDeviceBackingInfo
}

// backing is what connects a network card to the network that it is to be at.
func (v *Verbs) backing(ctx context.Context, client *vim25.Client,
	link facts.Link) (types.BaseVirtualDeviceBackingInfo, error) {
	ref := refer(link.ID)
	v.mu.Lock()
	if v.backings.client != client {
		v.backings = backings{client: client, known: map[reference]types.BaseVirtualDeviceBackingInfo{}}
	}
	known, found := v.backings.known[ref]
	v.mu.Unlock()
	if found {
		return known, nil
	}
	backing, err := networkBacking(ctx, client, link)
	if err != nil {
		return nil, fmt.Errorf("use the network %q: %w", link.Network, err)
	}
	if ref.Type == facts.TypeNetwork { // what is told by its name, which may change
		return backing, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.backings.client == client {
		v.backings.known[ref] = backing
	}
	return backing, nil
}

func networkBacking(ctx context.Context, client *vim25.Client,
	link facts.Link) (types.BaseVirtualDeviceBackingInfo, error) {
	ref := refer(link.ID)
	if ref.Type == facts.TypeNetwork {
		return &types.VirtualEthernetCardNetworkBackingInfo{
			Network: &ref, VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: link.Network},
		}, nil
	}
	known, ok := object.NewReference(client, ref).(object.NetworkReference)
	if !ok {
		return nil, fmt.Errorf("it is a %s, which no network card can be at: %w", ref.Type, failure.Invalid)
	}
	return known.EthernetCardBackingInfo(ctx)
}

// options are options of ExtraConfig, in the order of their keys.
func options(values map[string]string) []types.BaseOptionValue {
	var list []types.BaseOptionValue
	for _, key := range slices.Sorted(maps.Keys(values)) {
		list = append(list, &types.OptionValue{Key: key, Value: values[key]})
	}
	return list
}

// profile names a storage policy.
func profile(id string) []types.BaseVirtualMachineProfileSpec {
	if id == "" {
		return nil
	}
	return []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: id}}
}

func allocation(a facts.Allocation) *types.ResourceAllocationInfo {
	if a == (facts.Allocation{}) {
		return nil
	}
	info := &types.ResourceAllocationInfo{}
	if a.Limit != facts.Unsaid {
		info.Limit = &a.Limit
	}
	if a.Reservation != facts.Unsaid {
		info.Reservation = &a.Reservation
	}
	return info
}
