// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/utils/clock"
)

// requestTimeout bounds one request to etcd.
const requestTimeout = 5 * time.Second

// checkTimeout bounds a check: who asks, a supervisor or the kubelet, does not
// wait as long as requestTimeout, and would never read why it failed.
const checkTimeout = 1500 * time.Millisecond

// Ledger reads and writes Pacific's records in etcd. It writes under the term that
// it took, and not any more once another process has taken one.
type Ledger struct {
	Client *clientv3.Client
	// Prefix is the key under which all records lie, such as "/pacific".
	Prefix string
	Clock  clock.PassiveClock

	term atomic.Uint64 // The one that NewTerm took last, 0 for none.
}

// Detachment records that the Namespace of a folder was deleted: what Pacific
// did not make stays in vCenter and is no longer served.
type Detachment struct {
	// Folder is the id of the folder, with its vCenter's, as text.
	Folder string `json:"folder"`
	// Namespace is the name that the folder was served under.
	Namespace string `json:"namespace"`
	// Called is how the folder was called in vCenter when it was seen last. What has
	// its id and is called otherwise is another one.
	Called string `json:"called,omitempty"`
	// Time is when it was detached.
	Time time.Time `json:"time"`
}

// NewTerm takes the next term: greater than every term taken before, and at
// least the Unix time in seconds. It is stored before it is returned, and what is
// written from then on is written under it. Conditions must hold in etcd for it to
// be taken.
func (l *Ledger) NewTerm(ctx context.Context, conditions ...clientv3.Cmp) (uint64, error) {
	var before int64 = -1
	for {
		last, revision, err := l.lastTerm(ctx)
		if err != nil {
			return 0, err
		}
		if revision == before { // so it was not for somebody else's term that ours was not stored
			return 0, errors.New("the lead was lost before a term was taken")
		}
		before = revision
		term := max(last+1, uint64(l.Clock.Now().Unix()))
		taken, err := l.storeTerm(ctx, term, append(conditions,
			clientv3.Compare(clientv3.ModRevision(l.termKey()), "=", revision)))
		if err != nil {
			return 0, err
		}
		if taken {
			l.term.Store(term)
			return term, nil
		}
	}
}

// CurrentTerm is the last term that any replica took; 0 when none did.
func (l *Ledger) CurrentTerm(ctx context.Context) (uint64, error) {
	term, _, err := l.lastTerm(ctx)
	return term, err
}

func (l *Ledger) lastTerm(ctx context.Context) (term uint64, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := l.Client.Get(ctx, l.termKey())
	if err != nil {
		return 0, 0, fmt.Errorf("read the last term from etcd: %w", err)
	}
	if len(response.Kvs) == 0 {
		return 0, 0, nil
	}
	record := response.Kvs[0]
	term, err = strconv.ParseUint(string(record.Value), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("read the last term from etcd key %s: %w", l.termKey(), err)
	}
	return term, record.ModRevision, nil
}

func (l *Ledger) storeTerm(ctx context.Context, term uint64, conditions []clientv3.Cmp) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := l.Client.Txn(ctx).
		If(conditions...).
		Then(clientv3.OpPut(l.termKey(), formatTerm(term))).
		Commit()
	if err != nil {
		return false, fmt.Errorf("store term %d in etcd: %w", term, err)
	}
	return response.Succeeded, nil
}

// Detach stores that a folder is detached. Doing it twice is not an error. The
// error's kind is failure.Unavailable.
func (l *Ledger) Detach(ctx context.Context, detachment Detachment) error {
	value, err := json.Marshal(detachment)
	if err != nil {
		return fmt.Errorf("encode the detachment of folder %q: %w", detachment.Folder, err)
	}
	if _, _, err := l.write(ctx, clientv3.OpPut(l.detachmentKey(detachment.Folder), string(value))); err != nil {
		return fmt.Errorf("store the detachment of folder %q in etcd: %w", detachment.Folder, err)
	}
	return nil
}

// Attach removes the record that a folder is detached. That there is none is not an
// error. The error's kind is failure.Unavailable.
func (l *Ledger) Attach(ctx context.Context, folder string) error {
	if _, _, err := l.write(ctx, clientv3.OpDelete(l.detachmentKey(folder))); err != nil {
		return fmt.Errorf("remove the detachment of folder %q from etcd: %w", folder, err)
	}
	return nil
}

// Detachments lists the detached folders by managed-object id.
func (l *Ledger) Detachments(ctx context.Context) (map[string]Detachment, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := l.Client.Get(ctx, l.detachmentKey("")+"/", clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("list the detached folders from etcd: %w", err)
	}
	detachments := make(map[string]Detachment, len(response.Kvs))
	for _, record := range response.Kvs {
		var detachment Detachment
		if err := json.Unmarshal(record.Value, &detachment); err != nil {
			return nil, fmt.Errorf("decode etcd key %s: %w", record.Key, err)
		}
		detachments[strings.TrimPrefix(string(record.Key), l.detachmentKey("")+"/")] = detachment
	}
	return detachments, nil
}

// Check asks etcd for one key and says whether it answered in time.
func (l *Ledger) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if _, err := l.Client.Get(ctx, l.termKey()); err != nil {
		return fmt.Errorf("etcd does not answer: %w", err)
	}
	return nil
}

func (l *Ledger) termKey() string { return path.Join(l.Prefix, "term") }

func (l *Ledger) leaderKey() string { return path.Join(l.Prefix, "leader") }

func (l *Ledger) detachmentKey(folder string) string { return path.Join(l.Prefix, "detached", folder) }
