// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// strategy is a kind's rules as the generic store wants them, with what holds for every kind.
type strategy[T, L any] struct {
	runtime.ObjectTyper
	names.NameGenerator
	kind *Kind[T, L]
}

// Strategy is what the generic store asks of those who write.
type Strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
	rest.RESTDeleteStrategy
	rest.ResetFieldsStrategy
}

// Strategy is the kind's rules as the generic store wants them. The typer may be nil for who only prepares and
// validates.
func (k *Kind[T, L]) Strategy(typer runtime.ObjectTyper) Strategy {
	return strategy[T, L]{ObjectTyper: typer, NameGenerator: names.SimpleNameGenerator, kind: k}
}

func (s strategy[T, L]) NamespaceScoped() bool { return s.kind.Namespaced }

// AllowCreateOnUpdate is false: a PUT to an object that is gone must say so, for a controller takes 404 as the answer
// that it is.
func (strategy[T, L]) AllowCreateOnUpdate(context.Context) bool { return false }

// AllowUnconditionalUpdate is true: a PUT without a resourceVersion overwrites, as it does for most resources.
func (strategy[T, L]) AllowUnconditionalUpdate(context.Context) bool { return true }

func (strategy[T, L]) Canonicalize(runtime.Object) {}

// PrepareForCreate sets what is not the client's to say.
func (s strategy[T, L]) PrepareForCreate(ctx context.Context, obj runtime.Object) {
	object, ok := any(obj).(*T)
	if !ok {
		return
	}
	s.ownForm(obj, object)
	if status := part(object, "Status"); status.IsValid() {
		status.SetZero()
	}
	accessor := metaOf(object)
	accessor.SetGeneration(1)
	s.keepFinalizer(accessor)
	if prepare := s.kind.Rules.PrepareCreate; prepare != nil {
		prepare(ctx, object)
	}
}

// PrepareForUpdate sets what is not the client's to say.
func (s strategy[T, L]) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	object, ok := any(obj).(*T)
	before, was := any(old).(*T)
	if !ok || !was {
		return
	}
	s.ownForm(obj, object)
	if status := part(object, "Status"); status.IsValid() && ctx.Value(reporting{}) == nil {
		status.Set(part(before, "Status"))
	}
	if prepare := s.kind.Rules.PrepareUpdate; prepare != nil {
		prepare(ctx, object, before)
	}
	after, was2 := metaOf(object), metaOf(before)
	// A PUT of a manifest without our finalizer must not let a later deletion pass the controller by.
	if was2.GetDeletionTimestamp() == nil && slices.Contains(was2.GetFinalizers(), s.kind.Finalizer) {
		s.keepFinalizer(after)
	}
	if spec := part(object, "Spec"); spec.IsValid() && !equality.Semantic.DeepEqual(spec.Interface(),
		part(before, "Spec").Interface()) {
		after.SetGeneration(was2.GetGeneration() + 1)
	}
}

// ownForm takes away what belongs to other forms of an object: the hub is the internal version, where an object does
// not say its kind, and the stash is the older versions'.
func (s strategy[T, L]) ownForm(obj runtime.Object, object *T) {
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	accessor := metaOf(object)
	if _, found := accessor.GetAnnotations()[s.kind.Stash]; found && s.kind.Stash != "" {
		annotations := maps.Clone(accessor.GetAnnotations())
		delete(annotations, s.kind.Stash)
		accessor.SetAnnotations(annotations)
	}
}

func (s strategy[T, L]) keepFinalizer(object metav1.Object) {
	if finalizers := object.GetFinalizers(); s.kind.Finalizer != "" && !slices.Contains(finalizers, s.kind.Finalizer) {
		object.SetFinalizers(append(slices.Clone(finalizers), s.kind.Finalizer))
	}
}

func (s strategy[T, L]) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	object, ok := any(obj).(*T)
	if !ok || s.kind.Rules.Validate == nil {
		return nil
	}
	return s.kind.Rules.Validate(ctx, object)
}

func (s strategy[T, L]) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	object, ok := any(obj).(*T)
	before, was := any(old).(*T)
	if !ok || !was {
		return nil
	}
	errs := s.validateFinalizer(ctx, metaOf(object), metaOf(before))
	if s.kind.Rules.ValidateUpdate != nil {
		errs = append(errs, s.kind.Rules.ValidateUpdate(ctx, object, before)...)
	}
	return errs
}

// releasing marks the context of the one update that may take the kind's finalizer off: Release's. No request has it.
type releasing struct{}

// validateFinalizer refuses to have an object that is being deleted go before its controller has done what the deletion
// takes: without the finalizer it would be destroyed at once, or leave behind what belongs to it.
func (s strategy[T, L]) validateFinalizer(ctx context.Context, object, before metav1.Object) field.ErrorList {
	ours := s.kind.Finalizer
	removed := slices.Contains(before.GetFinalizers(), ours) && !slices.Contains(object.GetFinalizers(), ours)
	if ours == "" || !removed || ctx.Value(releasing{}) != nil {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("metadata", "finalizers"),
		ours+" is removed by the server alone, once all is done that the deletion takes: leave it in the list; "+
			"what the deletion waits for is told by the conditions and Events of the object")}
}

// reporting marks the context of the one update that may change the status: Report's. No request has it.
type reporting struct{}

func (strategy[T, L]) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }

func (s strategy[T, L]) WarningsOnUpdate(ctx context.Context, obj, old runtime.Object) []string {
	object, ok := any(obj).(*T)
	before, was := any(old).(*T)
	if !ok || !was || s.kind.Rules.Warnings == nil {
		return nil
	}
	return s.kind.Rules.Warnings(ctx, object, before)
}

// GetResetFields names what no manager can own: status, which is what is, and the stash of the older versions, which
// comes and goes with them.
func (s strategy[T, L]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	reset := fieldpath.NewSet(fieldpath.MakePathOrDie("status"))
	if s.kind.Stash != "" {
		reset.Insert(fieldpath.MakePathOrDie("metadata", "annotations", s.kind.Stash))
	}
	fields := map[fieldpath.APIVersion]*fieldpath.Set{}
	for _, version := range s.kind.Versions {
		fields[fieldpath.APIVersion(version.String())] = reset
	}
	return fields
}

// scope says whether a resource lies in namespaces. It is all that the generic store asks of a strategy as long as
// nobody writes, and nobody can.
type scope struct {
	rest.RESTCreateStrategy
	namespaced bool
}

func (s scope) NamespaceScoped() bool { return s.namespaced }
