// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/storage"
)

// Create implements storage.Interface. The time to live is ignored.
func (s *Store) Create(ctx context.Context, key string, obj, out runtime.Object, _ uint64) error {
	key, err := storage.PrepareKey(s.prefix, key, false)
	if err != nil {
		return err
	}
	if version, err := s.versioner.ObjectResourceVersion(obj); err == nil && version != 0 {
		return storage.ErrResourceVersionSetOnCreate
	}
	if err := s.writable("create"); err != nil {
		return err
	}
	attempts := s.attempts()
	for {
		desired := obj.DeepCopyObject()
		if err := s.versioner.PrepareObjectForStorage(desired); err != nil {
			return fmt.Errorf("prepare %s for storage: %w", s.config.GroupResource, err)
		}
		created, moved, err := s.create(ctx, key, desired)
		switch {
		case moved:
			return storage.NewKeyExistsError(key, 0)
		case err == nil && out == nil:
			return nil
		case err == nil:
			return assignCopy(out, created.object)
		}
		if err := attempts.again(ctx, key, nil, err); err != nil {
			return err
		}
	}
}

// Delete implements storage.Interface. It has no use for the suggestion: the current object is as near.
func (s *Store) Delete(ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validateDeletion storage.ValidateObjectFunc, _ runtime.Object, opts storage.DeleteOptions) error {
	key, err := storage.PrepareKey(s.prefix, key, false)
	if err != nil {
		return err
	}
	if err := s.writable("delete"); err != nil {
		return err
	}
	attempts := s.attempts()
	for {
		current := s.mirror.get(key)
		if current == nil {
			return storage.NewKeyNotFoundError(key, 0)
		}
		if opts.ExpectTransformOrDecodeError {
			return storage.NewInvalidObjError(key, "unsafe deletion is not allowed because the object is readable")
		}
		if err := preconditions.Check(key, current.object); err != nil {
			return err
		}
		if err := validateDeletion(ctx, current.object.DeepCopyObject()); err != nil {
			return err
		}
		moved, err := s.whileCurrent(ctx, key, current, func() error {
			return s.config.Backend.Delete(ctx, key, current.object)
		})
		if moved {
			continue
		}
		if err != nil {
			if err := attempts.again(ctx, key, current, err); err != nil {
				return err
			}
			continue
		}
		last := s.mirror.removed(current)
		if last == nil {
			// The deletion goes on outside: what is still to be seen is the last we know.
			last = current.object
			if now := s.mirror.get(key); now != nil {
				last = now.object
			}
		}
		return assignCopy(out, last)
	}
}

// GuaranteedUpdate implements storage.Interface. It has no use for the suggestion: the current object is as near. The
// time to live is ignored.
func (s *Store) GuaranteedUpdate(ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc, _ runtime.Object) error {
	key, err := storage.PrepareKey(s.prefix, key, false)
	if err != nil {
		return err
	}
	if err := s.writable("update"); err != nil {
		return err
	}
	attempts := s.attempts()
	for {
		current := s.mirror.get(key)
		if current == nil && !ignoreNotFound {
			return storage.NewKeyNotFoundError(key, 0)
		}
		desired, changed, err := s.desire(key, current, preconditions, tryUpdate)
		if err != nil {
			return err
		}
		if !changed {
			return assignCopy(destination, current.object)
		}
		var result *entry
		var moved bool
		if current == nil {
			result, moved, err = s.create(ctx, key, desired)
		} else {
			moved, err = s.whileCurrent(ctx, key, current, func() error {
				err := s.config.Backend.Update(ctx, key, current.object, desired)
				result = s.mirror.get(key)
				return err
			})
		}
		switch {
		case moved:
			continue
		case err != nil:
			if err := attempts.again(ctx, key, current, err); err != nil {
				return err
			}
			continue
		case result == nil:
			// The update was the end of the object, for instance the removal of its last finalizer.
			return storage.NewKeyNotFoundError(key, 0)
		}
		return assignCopy(destination, result.object)
	}
}

// desire asks what the object should become, and whether that is a change at all.
func (s *Store) desire(key string, current *entry, preconditions *storage.Preconditions,
	tryUpdate storage.UpdateFunc) (runtime.Object, bool, error) {
	input := s.config.NewFunc()
	response := storage.ResponseMeta{}
	var before []byte
	if current != nil {
		var err error
		if before, err = s.encode(shallowCopy(current.object)); err != nil {
			return nil, false, err
		}
		input = current.object.DeepCopyObject()
		response.ResourceVersion = current.revision
	}
	if err := preconditions.Check(key, input); err != nil {
		return nil, false, err
	}
	output, _, err := tryUpdate(input, response)
	if err != nil {
		return nil, false, err
	}
	// The output may share with whatever the caller has at hand.
	desired := output.DeepCopyObject()
	after, err := s.encode(desired)
	if err != nil {
		return nil, false, err
	}
	return desired, current == nil || !bytes.Equal(before, after), nil
}

// create makes a new object. moved says that the key has one already.
func (s *Store) create(ctx context.Context, key string,
	desired runtime.Object) (created *entry, moved bool, err error) {
	moved, err = s.whileCurrent(ctx, key, nil, func() error {
		before := s.mirror.current()
		if err := s.config.Backend.Create(ctx, key, desired); err != nil {
			return err
		}
		if created = s.mirror.created(key, before); created == nil {
			return storage.NewInternalError(fmt.Errorf("create %q: the backend returned before the object was to be seen", key))
		}
		return nil
	})
	return created, moved, err
}

// whileCurrent does a write unless the key has moved on since the entry was read. Writes to one key take turns.
func (s *Store) whileCurrent(ctx context.Context, key string, current *entry,
	write func() error) (moved bool, err error) {
	unlock, err := s.writers.lock(ctx, key)
	if err != nil {
		return false, apierrors.NewTimeoutError(fmt.Sprintf("another write to %s %q did not end in time",
			s.config.GroupResource, path.Base(key)), 1)
	}
	defer unlock()
	if s.mirror.get(key) != current {
		return true, nil
	}
	return false, write()
}

// writable returns why a write is not possible at all.
func (s *Store) writable(verb string) error {
	if s.config.Backend == nil {
		return apierrors.NewMethodNotSupported(s.config.GroupResource, verb)
	}
	if !s.Ready() {
		return s.config.Unavailable()
	}
	return nil
}

// attempts counts the conflicts of one write.
type attempts struct {
	store   *Store
	left    int
	backoff wait.Backoff
}

func (s *Store) attempts() *attempts {
	return &attempts{
		store:   s,
		left:    s.config.ConflictRetries,
		backoff: wait.Backoff{Duration: 10 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: time.Second},
	}
}

// again returns nil when the write is worth another try after the error of the backend. By then the mirror has moved,
// if it did within bounds.
func (a *attempts) again(ctx context.Context, key string, current *entry, err error) error {
	s := a.store
	if !s.config.IsConflict(err) {
		return err
	}
	if a.left--; a.left < 0 {
		return apierrors.NewConflict(s.config.GroupResource, path.Base(key), err)
	}
	s.wait(ctx, s.config.ConflictWait, func() bool { return s.mirror.lookup(key) != current })
	timer := s.config.Clock.NewTimer(a.backoff.Step())
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return apierrors.NewConflict(s.config.GroupResource, path.Base(key), err)
	}
}
