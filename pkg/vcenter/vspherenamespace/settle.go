// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"bytes"
	"context"
	"fmt"
	"time"

	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// settleTimeout is how long a write waits for etcd to say what became of it.
	settleTimeout  = 5 * time.Second
	settleInterval = 200 * time.Millisecond
)

// settled says whether a record whose write failed is stored all the same: etcd
// may have taken what it had no more time to confirm. The lock of writes is held.
func (b *Backend) settled(ctx context.Context, record *Record, value []byte) bool {
	if b.unsure == nil {
		b.unsure = map[string]bool{}
	}
	b.unsure[string(record.uid())] = true
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, settleInterval, true, func(ctx context.Context) (bool, error) {
		return b.settle(ctx) == nil, nil
	})
	if err != nil {
		return false
	}
	current := b.Projector.record(record.uid())
	if current == nil {
		return false
	}
	now, err := current.Encode()
	return err == nil && bytes.Equal(now, value)
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
		current := b.Projector.record(k8stypes.UID(uid))
		document, found := documents[uid]
		switch {
		case !found && current != nil:
			b.Projector.setRecord(current.uid(), nil)
		case found && (current == nil || current.revision != document.Revision):
			record, err := Decode(document.Value)
			if err != nil {
				return err
			}
			b.Projector.setRecord(record.uid(), &stored{Record: record, revision: document.Revision})
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
