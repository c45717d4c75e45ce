// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"sync"

	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/ledger"
)

// anchor knows which folder is the namespaces folder, of each vCenter, by the ledger:
// another folder that gets its name in vCenter is not taken for it.
type anchor struct {
	documents *ledger.Documents
	logger    klog.Logger

	mu       sync.Mutex
	known    map[string]ledger.Document // By vCenter, as last read; nil as long as that never succeeded.
	followed facts.ID
	changed  chan struct{}
}

func newAnchor(records *ledger.Ledger, logger klog.Logger) *anchor {
	return &anchor{
		documents: &ledger.Documents{Ledger: records, Kind: "namespacesfolders"}, logger: logger,
		changed: make(chan struct{}, 1),
	}
}

// served returns the id of the folder that was served so far in a vCenter. When etcd
// is away, what was read before is good enough.
func (a *anchor) served(ctx context.Context, vcenter string) (string, error) {
	documents, err := a.documents.List(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.known = documents
	} else if a.known == nil {
		return "", err
	}
	return string(a.known[vcenter].Value), nil
}

// Take implements facts.Follower.
func (a *anchor) Take(step facts.Step) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if step.Root == a.followed || step.Root.Value == "" {
		return
	}
	a.followed = step.Root
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// run writes down what is followed, in a reign.
func (a *anchor) run(ctx context.Context) error {
	for {
		if err := untilDone(ctx, a.logger, "Cannot write down which folder is the namespaces folder, trying again",
			a.write); err != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.changed:
		}
	}
}

func (a *anchor) write(ctx context.Context) error {
	a.mu.Lock()
	followed := a.followed
	a.mu.Unlock()
	if followed.Value == "" || followed.VCenter == "" {
		return nil
	}
	documents, err := a.documents.List(ctx)
	if err != nil {
		return err
	}
	kept := documents[followed.VCenter]
	if string(kept.Value) == followed.Value {
		return nil
	}
	_, err = a.documents.Put(ctx, followed.VCenter, []byte(followed.Value), kept.Revision)
	if err == nil {
		a.logger.Info("Wrote down which folder is the namespaces folder", "folder", followed.Value, "before",
			string(kept.Value))
	}
	return err
}
