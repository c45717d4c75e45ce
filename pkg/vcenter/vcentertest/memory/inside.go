// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"container/list"
	"encoding/json"
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// inside is a field that govmomi does not export. There is no other way to what its simulator keeps to itself; a test
// goes through all that are used here, so that another version of govmomi cannot change them unseen.
func inside(object any, field string) reflect.Value {
	value := reflect.ValueOf(object).Elem().FieldByName(field)
	return reflect.NewAt(value.Type(), unsafe.Pointer(value.UnsafeAddr())).Elem()
}

// insides are the fields, by the type of an object, that its record has.
var insides = map[string][]string{
	"VirtualMachine":         {"log", "sid", "uid", "imc"},
	"ClusterComputeResource": {"ruleKey"},
	"CustomFieldsManager":    {"nextKey"},
	"AuthorizationManager":   {"nextID"},
}

// besides are the exported fields of the simulator's objects that are no properties, by the type of an object.
var besides = map[string][]string{
	"VirtualMachine":                 {"DataSets"},
	"VirtualMachineSnapshot":         {"DataSets"},
	"VmwareDistributedVirtualSwitch": {"FetchDVPortsResponse"},
	"DistributedVirtualSwitch":       {"FetchDVPortsResponse"},
	"EnvironmentBrowser": {"QueryConfigTargetResponse", "QueryConfigOptionResponse",
		"QueryConfigOptionDescriptorResponse", "QueryTargetCapabilitiesResponse"},
}

// fields are the parts of an object that are no properties, to read and to set, by name.
func fields(object any, kind string) map[string]reflect.Value {
	found := map[string]reflect.Value{}
	for _, name := range insides[kind] {
		found[name] = inside(object, name)
	}
	for _, name := range besides[kind] {
		found[name] = reflect.ValueOf(object).Elem().FieldByName(name)
	}
	return found
}

// counter is what identifiers are counted with.
func counter(registry *simulator.Registry) int64 {
	return atomic.LoadInt64(inside(registry, "counter").Addr().Interface().(*int64))
}

func setCounter(registry *simulator.Registry, n int64) {
	atomic.StoreInt64(inside(registry, "counter").Addr().Interface().(*int64), n)
}

// history are the events that are kept, the oldest first, and how many there were ever. The caller holds the lock of the
// manager.
func history(manager *simulator.EventManager) (page *list.List, key *int32) {
	kept := inside(manager, "history").Elem().FieldByName("page")
	page = reflect.NewAt(kept.Type(), unsafe.Pointer(kept.UnsafeAddr())).Elem().Interface().(*list.List)
	return page, inside(manager, "key").Addr().Interface().(*int32)
}

// permissions are who has which role, by entity.
func permissions(manager *simulator.AuthorizationManager) map[types.ManagedObjectReference][]types.Permission {
	return inside(manager, "permissions").Interface().(map[types.ManagedObjectReference][]types.Permission)
}

// permissionsOf writes them as one list.
func permissionsOf(manager *simulator.AuthorizationManager) (json.RawMessage, error) {
	var all []types.Permission
	for entity, granted := range permissions(manager) {
		for _, permission := range granted {
			permission.Entity = &entity
			all = append(all, permission)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("write permissions: %w", err)
	}
	return text, nil
}

func setPermissions(manager *simulator.AuthorizationManager, text json.RawMessage) error {
	var all []types.Permission
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("read permissions: %w", err)
	}
	into := permissions(manager)
	clear(into)
	for _, permission := range all {
		into[*permission.Entity] = append(into[*permission.Entity], permission)
	}
	return nil
}
