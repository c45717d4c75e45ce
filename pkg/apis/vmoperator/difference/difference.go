// SPDX-License-Identifier: Apache-2.0

package difference

import (
	"fmt"
	"reflect"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Between returns the JSON paths at which two values of one type differ, each
// as deep as it goes: to the field of a struct, the element of a list of
// unchanged length, the key of a map. What one value has and the other lacks
// altogether is one path. Values that serialise alike count as equal.
func Between(path *field.Path, a, b any) []*field.Path {
	if equality.Semantic.DeepEqual(a, b) {
		return nil
	}
	return walk(path, reflect.ValueOf(a), reflect.ValueOf(b))
}

func walk(path *field.Path, a, b reflect.Value) []*field.Path {
	if equality.Semantic.DeepEqual(a.Interface(), b.Interface()) {
		return nil
	}
	switch a.Kind() {
	case reflect.Pointer:
		if !a.IsNil() && !b.IsNil() {
			return walk(path, a.Elem(), b.Elem())
		}
	case reflect.Struct:
		if ours(a.Type()) {
			return walkFields(path, a, b)
		}
	case reflect.Slice:
		if a.Len() == b.Len() {
			var paths []*field.Path
			for i := range a.Len() {
				paths = append(paths, walk(path.Index(i), a.Index(i), b.Index(i))...)
			}
			return paths
		}
	case reflect.Map:
		return walkKeys(path, a, b)
	}
	return []*field.Path{path}
}

// ours tells whether the fields of a struct are those of the JSON object. A
// quantity, a time or an int-or-string is written as one value.
func ours(structure reflect.Type) bool {
	return strings.HasPrefix(structure.PkgPath(), "github.com/vmware-tanzu/vm-operator/api/")
}

func walkFields(path *field.Path, a, b reflect.Value) []*field.Path {
	var paths []*field.Path
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		child := path
		if name != "" {
			child = path.Child(name)
		}
		paths = append(paths, walk(child, a.Field(i), b.Field(i))...)
	}
	return paths
}

func walkKeys(path *field.Path, a, b reflect.Value) []*field.Path {
	values := map[string][2]reflect.Value{}
	for _, key := range a.MapKeys() {
		values[fmt.Sprint(key.Interface())] = [2]reflect.Value{a.MapIndex(key), b.MapIndex(key)}
	}
	for _, key := range b.MapKeys() {
		values[fmt.Sprint(key.Interface())] = [2]reflect.Value{a.MapIndex(key), b.MapIndex(key)}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)

	var paths []*field.Path
	for _, name := range names {
		pair := values[name]
		if !pair[0].IsValid() || !pair[1].IsValid() {
			paths = append(paths, path.Key(name))
			continue
		}
		paths = append(paths, walk(path.Key(name), pair[0], pair[1])...)
	}
	return paths
}
