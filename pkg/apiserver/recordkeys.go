// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"reflect"

	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/ledger"
)

// errKeys ends a process that has read records by other keys than there are now.
var errKeys = errors.New("the keys in etcd by which records are proven are others than when this process began; it must " +
	"start again, to read the records by those")

// readKeys returns the keys by which records in vCenter are proven. Without them each one
// would count as somebody else's.
func readKeys(ctx context.Context, records *ledger.Ledger, options RecordsOptions,
	logger klog.Logger) (keys []ledger.RecordKey, err error) {
	err = patiently(ctx, logger, "Cannot read the keys by which records are proven, trying again",
		func(ctx context.Context) error {
			keys, err = records.RecordKeys(ctx, options.Key)
			return err
		})
	return keys, err
}

// sameKeys says before a process leads whether it has the keys that there are: another
// one may have led with a new key since it began, and what that wrote would not count.
func sameKeys(ctx context.Context, records *ledger.Ledger, options RecordsOptions, known []ledger.RecordKey,
	logger klog.Logger) error {
	now, err := readKeys(ctx, records, options, logger)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(now, known) {
		return errKeys
	}
	return nil
}

func secretsOf(keys []ledger.RecordKey) [][]byte {
	var all [][]byte
	for _, key := range keys {
		all = append(all, key.Bytes)
	}
	return all
}
