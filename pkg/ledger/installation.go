// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"path"
	"strings"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/openpacific/pacific/pkg/failure"
)

// Installation returns the id of this installation, which tells what it wrote into
// vCenter from what another one did. It is wanted, or a new one where nothing is
// wanted, when etcd holds none yet. The error's kind is failure.Invalid when another
// one than wanted is there, and failure.Unavailable when etcd does not answer.
func (l *Ledger) Installation(ctx context.Context, wanted string) (string, error) {
	made := wanted
	if made == "" {
		made = uuid.NewString()
	} else if err := ValidateInstallation(wanted); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := l.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(l.installationKey()), "=", 0)).
		Then(clientv3.OpPut(l.installationKey(), made)).
		Else(clientv3.OpGet(l.installationKey())).
		Commit()
	if err != nil {
		return "", fmt.Errorf("store the id of this installation in etcd: %w: %w", failure.Unavailable, err)
	}
	if response.Succeeded {
		return made, nil
	}
	stored := string(response.Responses[0].GetResponseRange().Kvs[0].Value)
	if wanted != "" && stored != wanted {
		return "", fmt.Errorf("etcd holds the records of installation %s below %s, and %s is wanted: %w", stored, l.Prefix,
			wanted, failure.Invalid)
	}
	return stored, nil
}

// Installed returns the id that Installation has stored, "" when there is none.
func (l *Ledger) Installed(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := l.Client.Get(ctx, l.installationKey())
	switch {
	case err != nil:
		return "", fmt.Errorf("read the id of this installation from etcd: %w: %w", failure.Unavailable, err)
	case len(response.Kvs) == 0:
		return "", nil
	}
	return string(response.Kvs[0].Value), nil
}

// ValidateInstallation says what is wrong with the id of an installation. The
// error's kind is failure.Invalid.
func ValidateInstallation(id string) error {
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
		return fmt.Errorf("%q is not a UUID in lower case, such as %s: %w", id, uuid.NewString(), failure.Invalid)
	}
	return nil
}

// recordKeyBytes is how long a key is by which records are proven.
const recordKeyBytes = 32

// RecordKey is a key by which this installation proves that it wrote a record into vCenter. It is secret.
type RecordKey struct {
	// Name is what people call it by in etcd.
	Name  string
	Bytes []byte
}

// Format keeps the key out of whatever prints it.
func (k RecordKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.Name)) }

// RecordKeys returns the keys of this installation, that of the name as the first: it is made where etcd has none.
// One that is there is never replaced: what was proven by it would count no more. That needs no term, since whoever
// asks first makes the one that all have. The error's kind is failure.Invalid where what is there is no key, and
// failure.Unavailable when etcd does not answer.
func (l *Ledger) RecordKeys(ctx context.Context, name string) ([]RecordKey, error) {
	made := make([]byte, recordKeyBytes)
	if _, err := rand.Read(made); err != nil {
		return nil, fmt.Errorf("make a key for records: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	key := l.recordKeysKey(name)
	_, err := l.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, base64.StdEncoding.EncodeToString(made))).
		Commit()
	if err != nil {
		return nil, fmt.Errorf("store the key %q for records in etcd: %w: %w", name, failure.Unavailable, err)
	}
	response, err := l.Client.Get(ctx, l.recordKeysKey("")+"/", clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read the keys for records from etcd: %w: %w", failure.Unavailable, err)
	}
	keys := make([]RecordKey, 1, len(response.Kvs))
	for _, stored := range response.Kvs {
		one := RecordKey{Name: path.Base(string(stored.Key))}
		one.Bytes, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(stored.Value)))
		switch {
		case err != nil || len(one.Bytes) != recordKeyBytes: // what is wrong with it is not told, since that quotes it
			return nil, fmt.Errorf("etcd key %s is not %d bytes in base64: put back what was there, or remove it: %w",
				stored.Key, recordKeyBytes, failure.Invalid)
		case one.Name == name:
			keys[0] = one
		default:
			keys = append(keys, one)
		}
	}
	if keys[0].Bytes == nil {
		return nil, fmt.Errorf("the key %q for records is gone from etcd again: %w", name, failure.Unavailable)
	}
	return keys, nil
}

// ValidateRecordKeyName says what is wrong with the name of a key. The error's kind is failure.Invalid.
func ValidateRecordKeyName(name string) error {
	if name == "" || len(name) > 63 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("%q is not up to 63 letters in lower case, digits and dashes, such as 2: %w", name,
			failure.Invalid)
	}
	return nil
}

func (l *Ledger) recordKeysKey(name string) string { return path.Join(l.Prefix, "recordkeys", name) }

func (l *Ledger) installationKey() string { return path.Join(l.Prefix, "installation") }
