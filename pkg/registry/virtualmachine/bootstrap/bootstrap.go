// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	userDataOption, metadataOption = "guestinfo.userdata", "guestinfo.metadata"
	encodingSuffix, encoding       = ".encoding", "gzip+base64"
	// maxValue is how many bytes of an option a guest reads, and so how long one may be when it is encoded.
	maxValue = 64 << 10
)

// Secrets are read one value at a time.
type Secrets interface {
	// Value returns the value of a key, and an error that wraps failure.NotFound where there is no such Secret or key.
	Value(ctx context.Context, namespace, name, key string) ([]byte, error)
}

// Bootstrap is what guests are told. Its fields are set before use.
type Bootstrap struct {
	Secrets Secrets
}

// Options returns what a machine's guest is told. cards are the machine's network cards, in the order of its interfaces.
func (b *Bootstrap) Options(ctx context.Context, vm *vmopv1.VirtualMachine, cards []facts.Card) (map[string]string, error) {
	if vm.Spec.Bootstrap == nil || vm.Spec.Bootstrap.CloudInit == nil {
		return nil, nil
	}
	cloudInit := vm.Spec.Bootstrap.CloudInit
	said, err := metadataOf(vm, cards)
	if err != nil {
		return nil, err
	}
	metadata, err := json.Marshal(said)
	if err != nil {
		return nil, fmt.Errorf("encode what cloud-init is told of the machine: %w", err)
	}
	options := map[string]string{}
	if err := put(options, metadataOption, metadata); err != nil {
		return nil, err
	}
	if raw := cloudInit.RawCloudConfig; raw != nil {
		value, err := b.Secrets.Value(ctx, vm.Namespace, raw.Name, raw.Key)
		if errors.Is(err, failure.NotFound) {
			return nil, fmt.Errorf("spec.bootstrap.cloudInit.rawCloudConfig: there is no Secret %q with a key %q in the namespace %q: create it: %w",
				raw.Name, raw.Key, vm.Namespace, failure.NotFound)
		}
		if err != nil {
			return nil, fmt.Errorf("spec.bootstrap.cloudInit.rawCloudConfig: %w", err)
		}
		if err := put(options, userDataOption, value); err != nil {
			return nil, fmt.Errorf("spec.bootstrap.cloudInit.rawCloudConfig: the key %q of the Secret %q: %w", raw.Key, raw.Name, err)
		}
	}
	return options, nil
}

// put encodes a value as cloud-init decodes it. What is wrong is said without the value.
func put(options map[string]string, key string, value []byte) error {
	var packed bytes.Buffer
	// Writing to memory cannot fail.
	writer, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	_, _ = writer.Write(value)
	_ = writer.Close()
	encoded := base64.StdEncoding.EncodeToString(packed.Bytes())
	if len(encoded) > maxValue {
		return fmt.Errorf("it takes %d bytes compressed and encoded, and a guest reads no more than %d: make it shorter, or have it "+
			"include the rest from elsewhere: %w", len(encoded), maxValue, failure.Invalid)
	}
	options[key], options[key+encodingSuffix] = encoded, encoding
	return nil
}
