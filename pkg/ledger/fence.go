// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/openpacific/pacific/pkg/failure"
)

// write makes a change if conditions hold and nobody has taken a term since this
// process took its own, all in one transaction of etcd. It returns etcd's revision
// after it and whether the conditions held. The error's kind is failure.Unavailable
// when this process may not write, and when etcd does not answer; then the change
// may have come to pass all the same.
func (l *Ledger) write(ctx context.Context, change clientv3.Op,
	conditions ...clientv3.Cmp) (revision int64, held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	term := l.term.Load()
	if term == 0 {
		return 0, false, fmt.Errorf("this replica has never led, and only a leader writes: %w", failure.Unavailable)
	}
	response, err := l.Client.Txn(ctx).
		If(append(conditions, l.inTerm(term))...).
		Then(change).
		Else(clientv3.OpGet(l.termKey())).
		Commit()
	if err != nil {
		return 0, false, fmt.Errorf("%w: %w", failure.Unavailable, err)
	}
	if response.Succeeded {
		return response.Header.Revision, true, nil
	}
	stored := response.Responses[0].GetResponseRange().Kvs
	if len(stored) == 0 || string(stored[0].Value) != formatTerm(term) {
		return 0, false, fmt.Errorf("%w: %w", failure.Unavailable, ErrSucceeded)
	}
	return 0, false, nil
}

// inTerm holds while a term is the last one.
func (l *Ledger) inTerm(term uint64) clientv3.Cmp {
	return clientv3.Compare(clientv3.Value(l.termKey()), "=", formatTerm(term))
}

func formatTerm(term uint64) string { return strconv.FormatUint(term, 10) }
