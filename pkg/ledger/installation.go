// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"fmt"
	"path"

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

func (l *Ledger) installationKey() string { return path.Join(l.Prefix, "installation") }
