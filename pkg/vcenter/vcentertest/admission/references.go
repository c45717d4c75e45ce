// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"reflect"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// References is why vCenter would not even begin with a request: it names an object that there is none of, or one of
// another type than belongs there.
func References(ctx *simulator.Context, request any) types.BaseMethodFault {
	return references(ctx, "", reflect.ValueOf(request))
}

func references(ctx *simulator.Context, field string, v reflect.Value) types.BaseMethodFault {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return references(ctx, field, v.Elem())
	case reflect.Slice:
		if kind := v.Type().Elem().Kind(); kind != reflect.Struct && kind != reflect.Pointer && kind != reflect.Interface {
			return nil
		}
		for i := range v.Len() {
			if fault := references(ctx, field, v.Index(i)); fault != nil {
				return fault
			}
		}
	case reflect.Struct:
		if ref, ok := v.Interface().(types.ManagedObjectReference); ok {
			return reference(ctx, field, ref)
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				name := f.Name
				if f.Anonymous {
					name = field
				}
				if fault := references(ctx, name, v.Field(i)); fault != nil {
					return fault
				}
			}
		}
	}
	return nil
}

func reference(ctx *simulator.Context, field string, ref types.ManagedObjectReference) types.BaseMethodFault {
	if ref.Type == "" && ref.Value == "" || field == "This" {
		return nil // not given, and looked at by the call itself
	}
	ref.ServerGUID = ""
	if ctx.Map.Get(ref) == nil && (ctx.Session == nil || ctx.Session.Get(ref) == nil) {
		return &types.ManagedObjectNotFound{Obj: ref}
	}
	if kinds := kindsOf(field); kinds != nil && !slices.Contains(kinds, ref.Type) {
		return &types.InvalidArgument{InvalidProperty: strings.ToLower(field[:1]) + field[1:]}
	}
	return nil
}

// kindsOf are the types of the objects that a field of this name may refer to, nil where it may be any.
func kindsOf(field string) []string {
	switch field {
	case "Pool", "ResourcePool":
		return []string{"ResourcePool", "VirtualApp"}
	case "Host":
		return []string{"HostSystem"}
	case "Folder":
		return []string{"Folder"}
	case "Datastore":
		return []string{"Datastore"}
	case "Datacenter", "SourceDatacenter", "DestDatacenter", "DestinationDatacenter":
		return []string{"Datacenter"}
	}
	return nil
}
