// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Kind says what there is to know of a kind of object: its descriptor, one struct literal. T and L are the structs of
// an object and of a list at the hub, the version that all code here sees.
type Kind[T, L any] struct {
	// Resource is the name in paths, such as "virtualmachines", Singular that of one, and Title what people call several.
	Resource, Singular, Title string
	ShortNames                []string
	// Versions are those that it is served at; the first is the hub. They belong to one group.
	Versions []schema.GroupVersion
	// Namespaced says that the objects lie in namespaces.
	Namespaced bool

	// Columns are printed by kubectl get.
	Columns []Column[T]
	// Fields can be selected by, besides name and namespace.
	Fields []Field[T]
	// Sight cuts what is read down to what its reader may see. Nil: who may read, sees all.
	Sight *Sight[T]

	// Rules make it writable. Nil: it can be read only.
	Rules *Rules[T]
	// Finalizer is on every object, from the beginning to the end: only Release takes it off. Empty: there is none.
	Finalizer string
	// Stash is the annotation in which objects of older versions carry what those cannot say. Empty: there is none.
	Stash string
	// Live says that spec shows values that nobody declared: those belong to nobody until somebody asks for one.
	Live bool
	// Guards refuse what must not happen, whoever asks, and Rights what the one who asks may not.
	Guards, Rights Refusals[T]
	// Status is the error for those who write to the subresource status, which can be read then. Nil: there is none.
	Status error
}

// Rules are what becomes of an object on its way in, and what is wrong with it. What the frame does for every kind
// comes before: status is kept, the finalizer stays until it is released, generation counts the changes of spec. Each
// may be nil.
type Rules[T any] struct {
	PrepareCreate  func(ctx context.Context, object *T)
	PrepareUpdate  func(ctx context.Context, object, before *T)
	Validate       func(ctx context.Context, object *T) field.ErrorList
	ValidateUpdate func(ctx context.Context, object, before *T) field.ErrorList
	Warnings       func(ctx context.Context, object, before *T) []string // of an update
}

// Refusals say why something is refused, before anything else is found wrong with it. Each may be nil, and returns an
// API status or an error of a kind of failure.
type Refusals[T any] struct {
	// Create is given an object that has no namespace yet: the context has it.
	Create func(ctx context.Context, object *T) error
	Update func(ctx context.Context, object, before *T) error
	// Delete is given the object that the deletion is then made conditional upon. In the deletion of a collection, what a
	// guard refuses is passed over.
	Delete func(ctx context.Context, object *T) error
}

// Sight decides what of an object somebody is shown: the object itself, a copy that has less, or nil for nothing. An
// error is told to who asks, and ends a watch.
//
// A watch goes on from what its client has: the state at the version that it names, as far as the caller sees it now or
// was shown it by this process. So the end of what went in between is told, even where all that said that the caller
// may see it has gone too. A version out of reach is answered with 410, and the client lists anew.
type Sight[T any] struct {
	// Each decides on many at once, One on one that is asked for by its name. Without One, Each does.
	Each func(ctx context.Context, who user.Info, objects []*T) ([]*T, error)
	One  func(ctx context.Context, who user.Info, object *T) (*T, error)
	// Hides says that some are shown to some people only.
	Hides bool
}

// Column is one of the columns that kubectl prints.
type Column[T any] struct {
	Name, Type, Format string
	// Wide columns are printed with -o wide only.
	Wide        bool
	Description string
	Cell        func(object *T, now time.Time) any
}

// Field is something by which objects can be selected.
type Field[T any] struct {
	// Name is its path at the hub, such as "status.nodeName".
	Name  string
	Value func(*T) string
	// Also are other names that it has, by version.
	Also map[string]string
	// Spelling makes a value of a version one of the hub. Nil: they are spelled alike.
	Spelling func(version, value string) string
	// Indexed says that the watch cache finds the objects of a value without looking at all. One field of a kind may be.
	Indexed bool
}

// group is the API group.
func (k *Kind[T, L]) group() string { return k.Versions[0].Group }

// GroupResource is the resource, without a version.
func (k *Kind[T, L]) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: k.group(), Resource: k.Resource}
}

// check says what is wrong with a descriptor.
func (k *Kind[T, L]) check() error {
	object, list := any(new(T)), any(new(L))
	_, isObject := object.(runtime.Object)
	_, hasMeta := object.(metav1.Object)
	_, isList := list.(runtime.Object)
	switch {
	case k.Resource == "" || k.Singular == "" || k.Title == "":
		return fmt.Errorf("the kind of a %T lacks a name", object)
	case len(k.Versions) == 0:
		return fmt.Errorf("%s: no version", k.Resource)
	case !isObject || !hasMeta || !isList || reflect.TypeFor[L]().Kind() != reflect.Struct:
		return fmt.Errorf("%s: %T and %T are not an API object and its list", k.Resource, object, list)
	case !reflect.ValueOf(list).Elem().FieldByName("Items").IsValid() || k.itemsOf(new(L)) == nil:
		return fmt.Errorf("%s: the items of a %T are not a list of %T", k.Resource, list, object)
	}
	for _, version := range k.Versions {
		if version.Group != k.group() {
			return fmt.Errorf("%s: the versions %s and %s are of two groups", k.Resource, k.Versions[0], version)
		}
	}
	return nil
}

func (k *Kind[T, L]) newObject() runtime.Object { return any(new(T)).(runtime.Object) }

func (k *Kind[T, L]) newList() runtime.Object { return any(new(L)).(runtime.Object) }

// itemsOf is the slice of a list's items.
func (k *Kind[T, L]) itemsOf(list *L) *[]T {
	items, _ := reflect.ValueOf(list).Elem().FieldByName("Items").Addr().Interface().(*[]T)
	return items
}

// pointers are the items of a list, each where it lies.
func (k *Kind[T, L]) pointers(list *L) []*T {
	items := *k.itemsOf(list)
	pointers := make([]*T, len(items))
	for i := range items {
		pointers[i] = &items[i]
	}
	return pointers
}

// object is what an API object is to its kind.
func (k *Kind[T, L]) object(object runtime.Object) (*T, error) {
	typed, ok := any(object).(*T)
	if !ok {
		return nil, fmt.Errorf("%s: got a %T", k.Resource, object)
	}
	return typed, nil
}

// metaOf is the metadata of an object.
func metaOf[T any](object *T) metav1.Object {
	accessor, err := meta.Accessor(object)
	if err != nil {
		panic(fmt.Sprintf("a %T has no metadata: %v", object, err)) // check has seen to that
	}
	return accessor
}

// part is a field of an object such as its spec, and what is not valid where it has none.
func part[T any](object *T, name string) reflect.Value {
	return reflect.ValueOf(object).Elem().FieldByName(name)
}
