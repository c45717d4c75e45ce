// SPDX-License-Identifier: Apache-2.0

package realisation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

const (
	// settleTimeout is how long a write waits for etcd to say what became of it.
	settleTimeout  = 5 * time.Second
	settleInterval = 200 * time.Millisecond
)

// settled says whether a record whose write failed is stored all the same: etcd
// may have taken what it did not confirm. The lock of writes is held.
func (b *Backend) settled(ctx context.Context, record *records.Record, value []byte, revision int64) bool {
	id := string(record.UID())
	if !b.resolve(ctx, id, func(ctx context.Context) error {
		_, err := b.Documents.Put(ctx, id, value, revision)
		return err
	}) {
		return false
	}
	current := b.Projector.Record(record.UID())
	if current == nil {
		return false
	}
	now, err := current.Encode()
	return err == nil && bytes.Equal(now, value)
}

// dropped says whether a record whose removal failed is gone all the same. The
// lock of writes is held.
func (b *Backend) dropped(ctx context.Context, uid k8stypes.UID, revision int64) bool {
	return b.resolve(ctx, string(uid), func(ctx context.Context) error {
		return b.Documents.Delete(ctx, string(uid), revision)
	}) && b.Projector.Record(uid) == nil
}

// resolve finds out what became of a write that failed, and shows what is stored.
// It makes the same write again before it reads: both replace the same state, so
// that one of them at most comes to pass, and once the second is answered the
// first cannot arrive after the reading any more. False: etcd does not say in
// time, and whoever writes next asks again.
func (b *Backend) resolve(ctx context.Context, id string, again func(context.Context) error) bool {
	if b.unsure == nil {
		b.unsure = map[string]bool{}
	}
	b.unsure[id] = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, settleInterval, true, func(ctx context.Context) (bool, error) {
		switch err := again(ctx); {
		case errors.Is(err, failure.Unavailable):
			return false, nil
		case err != nil && !errors.Is(err, failure.Conflict):
			return false, err
		}
		return b.settle(ctx) == nil, nil
	})
	return err == nil
}

// transient is the error of a write that failed. A conflict is none to whoever
// asked: the record has been read anew, or will be by the next write.
func transient(err error) error {
	if errors.Is(err, failure.Conflict) {
		return fmt.Errorf("%s: %w", err.Error(), failure.Unavailable)
	}
	return err
}

// settle reads the records again of which a write was not confirmed, and shows
// them as they are stored. Before that nothing is written: each write names the
// state that it replaces, and would be taken for another replica's. The lock of
// writes is held.
func (b *Backend) settle(ctx context.Context) error {
	if len(b.unsure) == 0 {
		return nil
	}
	documents, err := b.Documents.List(ctx)
	if err != nil {
		return fmt.Errorf("find out what became of the last write: %w: %w", failure.Unavailable, err)
	}
	for uid := range b.unsure {
		current := b.Projector.Record(k8stypes.UID(uid))
		document, found := documents[uid]
		switch {
		case !found && current != nil:
			b.Projector.SetRecord(current.UID(), nil)
		case found && (current == nil || current.Revision != document.Revision):
			record, err := records.Decode(document.Value)
			if err != nil {
				return err
			}
			b.Projector.SetRecord(record.UID(), &records.Stored{Record: record, Revision: document.Revision})
		}
		delete(b.unsure, uid)
	}
	return nil
}

// catchUp settles what is to be settled.
func (b *Backend) catchUp(ctx context.Context) error {
	b.writes.Lock()
	defer b.writes.Unlock()
	return b.settle(ctx)
}
