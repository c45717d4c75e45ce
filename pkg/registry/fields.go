// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/tools/cache"
)

const (
	fieldName      = "metadata.name"
	fieldNamespace = "metadata.namespace"
)

// attributes are what label and field selectors see of an object.
func (k *Kind[T, L]) attributes(obj runtime.Object) (labels.Set, fields.Set, error) {
	object, err := k.object(obj)
	if err != nil {
		return nil, nil, fmt.Errorf("select: %w", err)
	}
	accessor := metaOf(object)
	set := make(fields.Set, len(k.Fields)+2)
	set[fieldName] = accessor.GetName()
	if k.Namespaced {
		set[fieldNamespace] = accessor.GetNamespace()
	}
	for _, field := range k.Fields {
		set[field.Name] = field.Value(object)
	}
	return accessor.GetLabels(), set, nil
}

func (k *Kind[T, L]) predicate(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
	predicate := storage.SelectionPredicate{Label: label, Field: field, GetAttrs: k.attributes}
	for _, indexed := range k.indexed() {
		predicate.IndexFields = append(predicate.IndexFields, indexed.Name)
	}
	return predicate
}

func (k *Kind[T, L]) indexed() []Field[T] {
	return slices.DeleteFunc(slices.Clone(k.Fields), func(field Field[T]) bool { return !field.Indexed })
}

// storeOptions let the watch cache answer by an indexed field without looking at every object, in lists and in watches.
func (k *Kind[T, L]) storeOptions(getter generic.RESTOptionsGetter) *generic.StoreOptions {
	options := &generic.StoreOptions{RESTOptions: getter, AttrFunc: k.attributes}
	for _, indexed := range k.indexed() {
		value := func(obj runtime.Object) string {
			object, err := k.object(obj)
			if err != nil {
				return ""
			}
			return indexed.Value(object)
		}
		options.TriggerFunc = map[string]storage.IndexerFunc{indexed.Name: value}
		options.Indexers = &cache.Indexers{storage.FieldIndex(indexed.Name): func(obj any) ([]string, error) {
			object, ok := obj.(*T)
			if !ok {
				return nil, fmt.Errorf("index %s: got a %T", k.Title, obj)
			}
			return []string{indexed.Value(object)}, nil
		}}
	}
	return options
}

// convertLabels tells a scheme, for each version, the names of the fields that clients may select by.
func (k *Kind[T, L]) convertLabels(scheme *runtime.Scheme) error {
	kinds, _, err := scheme.ObjectKinds(k.newObject())
	if err != nil {
		return fmt.Errorf("%s: %w", k.Resource, err)
	}
	for _, version := range k.Versions {
		kind := version.WithKind(kinds[0].Kind)
		if err := scheme.AddFieldLabelConversionFunc(kind, k.labels(version)); err != nil {
			return fmt.Errorf("%s: fields of %s: %w", k.Resource, version, err)
		}
	}
	return nil
}

// labels converts the field selectors of a version to the names and values of the hub.
func (k *Kind[T, L]) labels(version schema.GroupVersion) runtime.FieldLabelConversionFunc {
	known := map[string]*Field[T]{fieldName: nil}
	if k.Namespaced {
		known[fieldNamespace] = nil
	}
	for i := range k.Fields {
		field := &k.Fields[i]
		known[field.Name] = field
		if also := field.Also[version.Version]; also != "" {
			known[also] = field
		}
	}
	supported := make([]string, 0, len(known))
	for name := range known {
		supported = append(supported, name)
	}
	slices.Sort(supported)
	return func(label, value string) (string, string, error) {
		field, found := known[label]
		switch {
		case !found:
			return "", "", fmt.Errorf("field selector %q is not supported for %s: use one of %s", label, k.Title,
				strings.Join(supported, ", "))
		case field == nil:
			return label, value, nil
		case field.Spelling != nil:
			value = field.Spelling(version.Version, value)
		}
		return field.Name, value, nil
	}
}
