// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
)

// begin has a generic store refuse.
func (r Refusals[T]) begin(store *genericregistry.Store) {
	if r.Create != nil {
		store.BeginCreate = func(ctx context.Context, obj runtime.Object,
			_ *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
			object, ok := any(obj).(*T)
			if !ok {
				return finish, fmt.Errorf("create: got a %T", obj)
			}
			return finish, r.Create(ctx, object)
		}
	}
	if r.Update != nil {
		store.BeginUpdate = func(ctx context.Context, obj, old runtime.Object,
			_ *metav1.UpdateOptions) (genericregistry.FinishFunc, error) {
			object, ok := any(obj).(*T)
			before, was := any(old).(*T)
			if !ok || !was {
				return finish, fmt.Errorf("update: got a %T and a %T", obj, old)
			}
			return finish, r.Update(ctx, object, before)
		}
	}
}

func finish(context.Context, bool) {}

// and refuses what either refuses.
func (r Refusals[T]) and(other Refusals[T]) Refusals[T] {
	both := r
	if first, second := r.Create, other.Create; first != nil && second != nil {
		both.Create = func(ctx context.Context, object *T) error {
			if err := first(ctx, object); err != nil {
				return err
			}
			return second(ctx, object)
		}
	} else if second != nil {
		both.Create = second
	}
	if first, second := r.Update, other.Update; first != nil && second != nil {
		both.Update = func(ctx context.Context, object, before *T) error {
			if err := first(ctx, object, before); err != nil {
				return err
			}
			return second(ctx, object, before)
		}
	} else if second != nil {
		both.Update = second
	}
	return both
}
