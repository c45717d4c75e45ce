// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/btree"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

const (
	listExpired     = "The resourceVersion for the provided list is too old."
	continueExpired = "The provided continue parameter is too old " +
		"to display a consistent list result. You can start a new list without " +
		"the continue parameter, or use the continue token in this response to " +
		"retrieve the remainder of the results. Continuing with the provided " +
		"token results in an inconsistent list - objects that were created, " +
		"modified, or deleted between the time the first chunk was returned " +
		"and now may show up in the list."
)

// checkEvery is how many objects a list looks at between two looks at its context.
const checkEvery = 1024

// GetList implements storage.Interface. Before the first Replace it waits as long as its context allows. The items
// share what is below their fields with the store, as those of the upstream cache do.
func (s *Store) GetList(ctx context.Context, key string, opts storage.ListOptions, listObj runtime.Object) error {
	prefix, err := storage.PrepareKey(s.prefix, key, opts.Recursive)
	if err != nil {
		return err
	}
	items, err := itemsOf(listObj)
	if err != nil {
		return err
	}
	exact, continueKey, err := storage.ValidateListOptions(prefix, s.versioner, opts)
	if err != nil {
		return err
	}
	select {
	case <-s.mirror.ready:
	case <-ctx.Done():
		return s.config.Unavailable()
	}

	tree, revision, err := s.stateFor(ctx, prefix, uint64(max(exact, 0)), continueKey, opts)
	if err != nil {
		return err
	}
	if !opts.Recursive {
		return s.listOne(tree, prefix, revision, opts, listObj, items)
	}
	return s.listAll(ctx, tree, prefix, revision, continueKey, opts, listObj, items)
}

// stateFor returns the state that the options ask for: at an exact revision, or the present one once it is new enough.
func (s *Store) stateFor(ctx context.Context, prefix string, exact uint64, continueKey string,
	opts storage.ListOptions) (*btree.BTreeG[*entry], uint64, error) {
	if exact == 0 {
		if continueKey == "" {
			if err := s.waitFresh(ctx, opts.ResourceVersion); err != nil {
				return nil, 0, err
			}
		}
		tree, revision := s.mirror.snapshot()
		return tree, revision, nil
	}
	tree, current, ok := s.mirror.at(exact)
	switch {
	case ok:
		return tree, exact, nil
	case exact > current:
		return nil, 0, storage.NewTooLargeResourceVersionError(exact, current, 1)
	case continueKey != "":
		return nil, 0, expiredContinue(continueKey, prefix)
	}
	return nil, 0, apierrors.NewResourceExpired(listExpired)
}

// expiredContinue tells a client to start again, or to go on with the present state by the token that comes with it.
func expiredContinue(continueKey, prefix string) error {
	expired := apierrors.NewResourceExpired(continueExpired)
	token, err := storage.EncodeContinue(continueKey, prefix, -1)
	if err != nil {
		return expired
	}
	expired.ErrStatus.ListMeta.Continue = token
	return expired
}

func (s *Store) listOne(tree *btree.BTreeG[*entry], key string, revision uint64, opts storage.ListOptions,
	listObj runtime.Object, items reflect.Value) error {
	var found []*entry
	if e, ok := tree.Get(&entry{key: key}); ok && matches(opts.Predicate, e.object) {
		found = append(found, e)
	}
	return s.finishList(listObj, items, found, opts, revision, "", nil)
}

func (s *Store) listAll(ctx context.Context, tree *btree.BTreeG[*entry], prefix string, revision uint64,
	continueKey string, opts storage.ListOptions, listObj runtime.Object, items reflect.Value) error {
	limit := opts.Predicate.Limit
	everything := opts.Predicate.Empty()
	var found []*entry
	if everything && limit == 0 && prefix == s.prefix {
		found = make([]*entry, 0, tree.Len())
	}
	start := prefix
	if continueKey != "" {
		start = continueKey
	}
	var last string
	var seen int64
	var more bool
	var err error
	tree.AscendGreaterOrEqual(&entry{key: start}, func(e *entry) bool {
		if !strings.HasPrefix(e.key, prefix) {
			return false
		}
		if seen++; seen%checkEvery == 0 && ctx.Err() != nil {
			err = storage.NewTimeoutError(prefix, "request did not complete within requested timeout")
			return false
		}
		if limit > 0 && int64(len(found)) >= limit {
			more = true
			// What remains is counted only if somebody is told.
			return everything
		}
		last = e.key
		if everything || matches(opts.Predicate, e.object) {
			found = append(found, e)
		}
		return true
	})
	if err != nil {
		return err
	}
	token, remaining, err := storage.PrepareContinueToken(last, prefix, int64(revision), seen, more, opts)
	if err != nil {
		return err
	}
	return s.finishList(listObj, items, found, opts, revision, token, remaining)
}

func (s *Store) finishList(listObj runtime.Object, items reflect.Value, found []*entry, opts storage.ListOptions,
	revision uint64, token string, remaining *int64) error {
	// The size is known by now, which matters: growing a list copies whole objects.
	items.Set(reflect.MakeSlice(items.Type(), len(found), len(found)))
	for i, e := range found {
		items.Index(i).Set(reflect.ValueOf(e.object).Elem())
	}
	if err := s.versioner.UpdateList(listObj, revision, token, remaining); err != nil {
		return err
	}
	if utilfeature.DefaultFeatureGate.Enabled(features.ShardedListAndWatch) {
		opts.Predicate.SetShardInfoOnList(listObj)
	}
	return nil
}

func itemsOf(listObj runtime.Object) (reflect.Value, error) {
	pointer, err := meta.GetItemsPtr(listObj)
	if err != nil {
		return reflect.Value{}, err
	}
	items, err := conversion.EnforcePtr(pointer)
	if err != nil {
		return reflect.Value{}, fmt.Errorf("need a pointer to a slice: %w", err)
	}
	if items.Kind() != reflect.Slice {
		return reflect.Value{}, fmt.Errorf("need a pointer to a slice, not to a %s", items.Kind())
	}
	return items, nil
}

func matches(predicate storage.SelectionPredicate, object runtime.Object) bool {
	if predicate.Empty() {
		return true
	}
	matched, err := predicate.Matches(object)
	return err == nil && matched
}
