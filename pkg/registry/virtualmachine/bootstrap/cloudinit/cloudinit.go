// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/secret"
)

const (
	userDataOption, metadataOption = "guestinfo.userdata", "guestinfo.metadata"
	encodingSuffix, encoding       = ".encoding", "gzip+base64"
	// maxValue is how many bytes of an option a guest reads, and so how long one may be when it is encoded.
	maxValue = 64 << 10
)

// rawKeys are where user data is as well, whatever key is named: Cluster API's bootstrap provider has it in the second.
var rawKeys = []string{"user-data", "value"}

// References are the Secrets that cloud-init is told something of.
func References(cloudInit *vmopv1.VirtualMachineBootstrapCloudInitSpec) (found []secret.Reference) {
	path := Path()
	if raw := cloudInit.RawCloudConfig; raw != nil {
		found = append(found, secret.Reference{Path: path.Child("rawCloudConfig"), Name: raw.Name, Key: raw.Key,
			Other: rawKeys, Bytes: true})
	}
	config := cloudInit.CloudConfig
	if config == nil {
		return found
	}
	path = path.Child("cloudConfig")
	for i := range config.Users {
		for _, password := range passwords(&config.Users[i]) {
			found = append(found, secret.Reference{Path: path.Child("users").Index(i).Child(password.name),
				Name: password.from.Name, Key: password.from.Key})
		}
	}
	for i := range config.WriteFiles {
		// What cannot be read is refused, and names no Secret.
		if _, from, err := contentOf(config.WriteFiles[i].Content); err == nil && from != nil {
			found = append(found, secret.Reference{Path: path.Child("write_files").Index(i).Child("content"),
				Name: from.Name, Key: from.Key, Bytes: true})
		}
	}
	return found
}

// Metadata are the options that tell cloud-init of the machine itself: what that is called, and how its network cards are
// to be set up.
func Metadata(vm *vmopv1.VirtualMachine, cards []facts.Card) (map[string]string, error) {
	said, err := metadataOf(vm, cards)
	if err != nil {
		return nil, err
	}
	metadata, err := json.Marshal(said)
	if err != nil {
		return nil, fmt.Errorf("encode what cloud-init is told of the machine: %w", err)
	}
	options := map[string]string{}
	return options, put(options, metadataOption, metadata)
}

// Options are all that cloud-init reads of a machine: its Metadata, and what it is to do.
func Options(vm *vmopv1.VirtualMachine, cards []facts.Card, values secret.Values) (map[string]string, error) {
	options, err := Metadata(vm, cards)
	if err != nil {
		return nil, err
	}
	userData, path, err := userDataOf(vm.Spec.Bootstrap.CloudInit, values)
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

// userDataOf is what cloud-init is to do, and where the spec says so.
func userDataOf(cloudInit *vmopv1.VirtualMachineBootstrapCloudInitSpec, values secret.Values) ([]byte, *field.Path,
	error) {
	path := Path()
	switch {
	case cloudInit.CloudConfig != nil:
		path = path.Child("cloudConfig")
		userData, err := render(path, cloudInit.CloudConfig, values)
		return userData, path, err
	case cloudInit.RawCloudConfig != nil:
		path = path.Child("rawCloudConfig")
		userData, err := secret.Plain(values.Of(path))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: the key %q of the Secret %q: %w", path, cloudInit.RawCloudConfig.Key,
				cloudInit.RawCloudConfig.Name, err)
		}
		return userData, path, nil
	}
	return nil, path, nil
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
