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

// Documents are records of one kind, each under an id. Only the process of the last
// term writes them, and each write names the state that it replaces.
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
		documents[strings.TrimPrefix(string(record.Key), prefix)] = Document{Value: record.Value,
			Revision: record.ModRevision}
	}
	return documents, nil
}

// Put stores a document in place of the one of that revision, 0 for none, and
// returns the new revision. The error's kind is failure.Conflict when there is
// another one by now, and failure.Unavailable when this process may not write or
// etcd does not answer.
func (d *Documents) Put(ctx context.Context, id string, value []byte, revision int64) (int64, error) {
	stored, held, err := d.Ledger.write(ctx, clientv3.OpPut(d.key(id), string(value)), d.unchanged(id, revision))
	if err == nil && !held {
		err = errWritten
	}
	if err != nil {
		return 0, fmt.Errorf("store %s of %s in etcd: %w", id, d.Kind, err)
	}
	return stored, nil
}

// Delete removes the document of that revision. That there is none is not an
// error.
func (d *Documents) Delete(ctx context.Context, id string, revision int64) error {
	_, held, err := d.Ledger.write(ctx, clientv3.OpDelete(d.key(id)), d.unchanged(id, revision))
	if err == nil && !held {
		err = d.gone(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("remove %s of %s from etcd: %w", id, d.Kind, err)
	}
	return nil
}

// unchanged holds while the revision of a document is that one.
func (d *Documents) unchanged(id string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(d.key(id)), "=", revision)
}

// gone returns nil when there is no such document.
func (d *Documents) gone(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := d.Ledger.Client.Get(ctx, d.key(id), clientv3.WithCountOnly())
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", failure.Unavailable, err)
	case response.Count > 0:
		return errWritten
	}
	return nil
}

var errWritten = fmt.Errorf("it has been written since it was read: %w", failure.Conflict)

func (d *Documents) key(id string) string { return path.Join(d.Ledger.Prefix, d.Kind, id) }
