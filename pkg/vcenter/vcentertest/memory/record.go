// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// record is what is written of an object: its properties, its fields that are none, and what companions keep of it.
type record struct {
	Properties json.RawMessage            `json:"properties"`
	Fields     map[string]json.RawMessage `json:"fields,omitempty"`
	Beside     map[string]json.RawMessage `json:"beside,omitempty"`
}

// kinds are those that are remembered, with how an object of theirs begins. Objects that each vCenter has exactly one of
// are nil: they are there already.
var kinds = map[string]func() mo.Reference{
	"Folder":                         func() mo.Reference { return new(simulator.Folder) },
	"StoragePod":                     func() mo.Reference { return new(simulator.StoragePod) },
	"Datacenter":                     func() mo.Reference { return new(simulator.Datacenter) },
	"ComputeResource":                func() mo.Reference { return new(mo.ComputeResource) },
	"ClusterComputeResource":         func() mo.Reference { return new(simulator.ClusterComputeResource) },
	"HostSystem":                     func() mo.Reference { return new(simulator.HostSystem) },
	"HostDatastoreSystem":            func() mo.Reference { return new(simulator.HostDatastoreSystem) },
	"HostNetworkSystem":              func() mo.Reference { return new(simulator.HostNetworkSystem) },
	"HostVirtualNicManager":          func() mo.Reference { return new(simulator.HostVirtualNicManager) },
	"HostFirewallSystem":             func() mo.Reference { return new(simulator.HostFirewallSystem) },
	"HostStorageSystem":              func() mo.Reference { return new(simulator.HostStorageSystem) },
	"HostCertificateManager":         func() mo.Reference { return new(simulator.HostCertificateManager) },
	"HostDatastoreBrowser":           func() mo.Reference { return new(simulator.HostDatastoreBrowser) },
	"EnvironmentBrowser":             func() mo.Reference { return new(simulator.EnvironmentBrowser) },
	"ResourcePool":                   func() mo.Reference { return new(simulator.ResourcePool) },
	"VirtualApp":                     func() mo.Reference { return new(simulator.VirtualApp) },
	"Datastore":                      func() mo.Reference { return new(simulator.Datastore) },
	"Network":                        func() mo.Reference { return new(mo.Network) },
	"OpaqueNetwork":                  func() mo.Reference { return new(mo.OpaqueNetwork) },
	"DistributedVirtualSwitch":       func() mo.Reference { return new(simulator.DistributedVirtualSwitch) },
	"VmwareDistributedVirtualSwitch": func() mo.Reference { return new(simulator.DistributedVirtualSwitch) },
	"DistributedVirtualPortgroup":    func() mo.Reference { return new(simulator.DistributedVirtualPortgroup) },
	"VirtualMachine":                 func() mo.Reference { return new(simulator.VirtualMachine) },
	"VirtualMachineSnapshot":         func() mo.Reference { return new(simulator.VirtualMachineSnapshot) },
	"OptionManager":                  func() mo.Reference { return new(simulator.OptionManager) },
	"AuthorizationManager":           nil,
	"CustomFieldsManager":            nil,
	"ExtensionManager":               nil,
}

// follows are the properties, by kind, that follow from what other objects say; of all the tasks are left out, too.
var follows = map[string][]string{
	"Folder": {"ChildEntity"}, "StoragePod": {"ChildEntity"}, "HostSystem": {"Vm"},
	"ResourcePool": {"Vm", "ResourcePool"}, "VirtualApp": {"Vm", "ResourcePool"}, "Datastore": {"Vm"},
}

// remembered says whether an object is. The options of vCenter itself are made at each start.
func remembered(ref types.ManagedObjectReference) bool {
	_, ok := kinds[ref.Type]
	return ok && ref.Value != "VpxSettings"
}

// single says whether a kind is of machines, of which there are many.
func many(kind string) bool { return kind == "VirtualMachine" || kind == "VirtualMachineSnapshot" }

func keyOf(ref types.ManagedObjectReference) string { return ref.Type + ":" + ref.Value }

func refOf(key string) types.ManagedObjectReference {
	kind, value, _ := strings.Cut(key, ":")
	return types.ManagedObjectReference{Type: kind, Value: value}
}

// properties are the managed object in one of the simulator's, or it itself.
func properties(object mo.Reference) reflect.Value {
	value := reflect.ValueOf(object).Elem()
	for value.Type().PkgPath() != reflect.TypeFor[mo.Folder]().PkgPath() {
		value = value.Field(0)
	}
	return value
}

func write(value any) (json.RawMessage, error) {
	var text bytes.Buffer
	if err := types.NewJSONEncoder(&text).Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(text.Bytes()), nil
}

func read(text json.RawMessage, into any) error {
	return types.NewJSONDecoder(bytes.NewReader(text)).Decode(into)
}

// ofAPI says whether a field is of the API's types, which have an encoding of their own.
func ofAPI(field reflect.Value) bool {
	kind := field.Type()
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	return kind.PkgPath() == reflect.TypeFor[types.ManagedObjectReference]().PkgPath()
}

func writeField(field reflect.Value) (json.RawMessage, error) {
	if ofAPI(field) {
		return write(field.Interface())
	}
	return json.Marshal(field.Interface())
}

func readField(text json.RawMessage, field reflect.Value) error {
	if ofAPI(field) {
		return read(text, field.Addr().Interface())
	}
	return json.Unmarshal(text, field.Addr().Interface())
}

// encode writes an object, which nobody changes meanwhile.
func (r *Recorder) encode(object mo.Reference) ([]byte, error) {
	ref := object.Reference()
	own := properties(object)
	shown := reflect.New(own.Type()).Elem()
	shown.Set(own)
	for _, name := range append([]string{"RecentTask"}, follows[ref.Type]...) {
		if field := shown.FieldByName(name); field.IsValid() {
			field.SetZero()
		}
	}
	text, err := write(shown.Addr().Interface())
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", ref.Value, err)
	}
	made := record{Properties: text, Fields: map[string]json.RawMessage{}, Beside: map[string]json.RawMessage{}}
	for name, field := range fields(object, ref.Type) {
		if field.IsZero() {
			continue
		}
		if made.Fields[name], err = writeField(field); err != nil {
			return nil, fmt.Errorf("write %s of %s: %w", name, ref.Value, err)
		}
	}
	if manager, ok := object.(*simulator.AuthorizationManager); ok {
		if made.Beside["permissions"], err = permissionsOf(manager); err != nil {
			return nil, err
		}
	}
	for name, companion := range r.Companions {
		kept, err := companion.RememberOf(object)
		if err != nil {
			return nil, fmt.Errorf("write %s of %s: %w", name, ref.Value, err)
		}
		if kept != nil {
			made.Beside[name] = kept
		}
	}
	return json.Marshal(made)
}

// decode fills an object, which nobody knows yet.
func decode(text []byte, object mo.Reference, kind string) (beside map[string]json.RawMessage, err error) {
	var made record
	if err := json.Unmarshal(text, &made); err != nil {
		return nil, err
	}
	own := properties(object)
	fresh := reflect.New(own.Type())
	if err := read(made.Properties, fresh.Interface()); err != nil {
		return nil, err
	}
	own.Set(fresh.Elem())
	for name, field := range fields(object, kind) {
		field.SetZero()
		if made.Fields[name] == nil {
			continue
		}
		if err := readField(made.Fields[name], field); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return made.Beside, nil
}
