// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	userDataOption, metadataOption = "guestinfo.userdata", "guestinfo.metadata"
	encodingSuffix, encoding       = ".encoding", "gzip+base64"
	// maxValue is how many bytes of an option a guest reads, and so how long one may be when it is encoded.
	maxValue = 64 << 10
	// maxPlain is how much of what is compressed is looked at.
	maxPlain = 16 << 20
)

// Bootstrap is what guests are told. Its fields are set before use.
type Bootstrap struct {
	Secrets Secrets
}

// Options returns what a machine's guest is told. cards are the machine's network cards, in the order of its
// interfaces.
func (b *Bootstrap) Options(ctx context.Context, vm *vmopv1.VirtualMachine, cards []facts.Card,
) (map[string]string, error) {
	if vm.Spec.Bootstrap == nil || vm.Spec.Bootstrap.CloudInit == nil {
		return nil, nil
	}
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
	userData, path, err := b.userData(ctx, vm)
	if err != nil {
		return nil, err
	}
	if len(userData) > 0 {
		if err := put(options, userDataOption, userData); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return options, nil
}

// userData is what cloud-init is to do, and where the spec says so.
func (b *Bootstrap) userData(ctx context.Context, vm *vmopv1.VirtualMachine) ([]byte, *field.Path, error) {
	values, err := b.values(ctx, vm)
	if err != nil {
		return nil, nil, err
	}
	cloudInit, path := vm.Spec.Bootstrap.CloudInit, cloudInitPath()
	switch {
	case cloudInit.CloudConfig != nil:
		path = path.Child("cloudConfig")
		userData, err := render(path, cloudInit.CloudConfig, values)
		return userData, path, err
	case cloudInit.RawCloudConfig != nil:
		path = path.Child("rawCloudConfig")
		userData, err := plain(values[path.String()])
		if err != nil {
			return nil, nil, fmt.Errorf("%s: the key %q of the Secret %q: %w", path, cloudInit.RawCloudConfig.Key,
				cloudInit.RawCloudConfig.Name, err)
		}
		return userData, path, nil
	}
	return nil, path, nil
}

// plain is what a value of a Secret says, which may be encoded in base64, and compressed before that.
func plain(value []byte) ([]byte, error) {
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(value)))
	if err != nil {
		decoded = value
	}
	if !bytes.HasPrefix(decoded, []byte{0x1f, 0x8b}) {
		return decoded, nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(decoded))
	if err != nil {
		return nil, fmt.Errorf("it is compressed, and damaged: %w", failure.Invalid)
	}
	text, err := io.ReadAll(io.LimitReader(reader, maxPlain+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("it is compressed, and damaged: %w", failure.Invalid)
	case len(text) > maxPlain:
		return nil, fmt.Errorf("it is longer than %d bytes: make it shorter: %w", maxPlain, failure.Invalid)
	}
	return text, nil
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
		return fmt.Errorf("it takes %d bytes compressed and encoded, and a guest reads no more than %d: make it shorter, or "+
			"have it include the rest from elsewhere: %w", len(encoded), maxValue, failure.Invalid)
	}
	options[key], options[key+encodingSuffix] = encoded, encoding
	return nil
}
