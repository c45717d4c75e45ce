// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"fmt"
	"path"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/openpacific/pacific/pkg/failure"
)

// Document is a record whose meaning is not the ledger's business.
type Document struct {
	Value []byte
	// Revision tells one state of the document from every other one.
	Revision int64
}

// Documents are records of one kind, each under an id. The leader alone writes
// them; one that has lost its lease without noticing is refused, since each
// write names the state that it replaces.
type Documents struct {
	Ledger *Ledger
	// Kind is the folder in etcd, such as "vspherenamespaces".
	Kind string
}

// List returns every document by id.
func (d *Documents) List(ctx context.Context) (map[string]Document, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	prefix := d.key("") + "/"
	response, err := d.Ledger.Client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("list the %s in etcd: %w", d.Kind, err)
	}
	documents := make(map[string]Document, len(response.Kvs))
	for _, record := range response.Kvs {
		documents[strings.TrimPrefix(string(record.Key), prefix)] = Document{Value: record.Value, Revision: record.ModRevision}
	}
	return documents, nil
}

// Put stores a document in place of the one of that revision, 0 for none, and
// returns the new revision. The error's kind is failure.Conflict when there is
// another one by now, and failure.Unavailable when etcd does not answer.
func (d *Documents) Put(ctx context.Context, id string, value []byte, revision int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := d.Ledger.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(d.key(id)), "=", revision)).
		Then(clientv3.OpPut(d.key(id), string(value))).
		Commit()
	if err != nil {
		return 0, fmt.Errorf("store %s of %s in etcd: %w: %w", id, d.Kind, failure.Unavailable, err)
	}
	if !response.Succeeded {
		return 0, fmt.Errorf("store %s of %s in etcd: another replica has written it: %w", id, d.Kind, failure.Conflict)
	}
	return response.Header.Revision, nil
}

// Delete removes the document of that revision. It is no error when there is
// none.
func (d *Documents) Delete(ctx context.Context, id string, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := d.Ledger.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(d.key(id)), "=", revision)).
		Then(clientv3.OpDelete(d.key(id))).
		Else(clientv3.OpGet(d.key(id), clientv3.WithCountOnly())).
		Commit()
	switch {
	case err != nil:
		return fmt.Errorf("remove %s of %s from etcd: %w: %w", id, d.Kind, failure.Unavailable, err)
	case !response.Succeeded && response.Responses[0].GetResponseRange().Count > 0:
		return fmt.Errorf("remove %s of %s from etcd: another replica has written it: %w", id, d.Kind, failure.Conflict)
	}
	return nil
}

func (d *Documents) key(id string) string { return path.Join(d.Ledger.Prefix, d.Kind, id) }
