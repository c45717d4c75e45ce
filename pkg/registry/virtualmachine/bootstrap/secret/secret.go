// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"context"
	"errors"
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1common "github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/failure"
)

// Secrets are read one value at a time.
type Secrets interface {
	// Value returns the value of a key, and an error that wraps failure.NotFound where there is no such Secret or key.
	Value(ctx context.Context, namespace, name, key string) ([]byte, error)
}

// reference is where a spec names a key of a Secret.
type reference struct {
	path *field.Path
	from vmopv1common.SecretKeySelector
	// other are the keys that do as well.
	other []string
}

// rawKeys are where user data is as well, whatever key is named: Cluster API's bootstrap provider has it in the second.
var rawKeys = []string{"user-data", "value"}

// references are all the Secrets that a guest is told something of: whatever is read is one of these.
func references(spec *vmopv1.VirtualMachineSpec) (found []reference) {
	if spec.Bootstrap == nil || spec.Bootstrap.CloudInit == nil {
		return nil
	}
	cloudInit, path := spec.Bootstrap.CloudInit, cloudInitPath()
	if raw := cloudInit.RawCloudConfig; raw != nil {
		found = append(found, reference{path: path.Child("rawCloudConfig"), from: *raw, other: rawKeys})
	}
	config := cloudInit.CloudConfig
	if config == nil {
		return found
	}
	path = path.Child("cloudConfig")
	for i := range config.Users {
		for _, password := range passwords(&config.Users[i]) {
			found = append(found, reference{path: path.Child("users").Index(i).Child(password.name), from: password.from})
		}
	}
	for i := range config.WriteFiles {
		// What cannot be read is refused, and names no Secret.
		if _, from, err := contentOf(config.WriteFiles[i].Content); err == nil && from != nil {
			found = append(found, reference{path: path.Child("write_files").Index(i).Child("content"), from: *from})
		}
	}
	return found
}

// SecretsOf are the names of the Secrets that a machine's guest is told something of.
func SecretsOf(spec *vmopv1.VirtualMachineSpec) (names []string) {
	for _, reference := range references(spec) {
		names = append(names, reference.from.Name)
	}
	return names
}

// values reads what the Secrets have, by the path of the field that names them.
func (b *Bootstrap) values(ctx context.Context, vm *vmopv1.VirtualMachine) (map[string][]byte, error) {
	values := map[string][]byte{}
	for _, reference := range references(&vm.Spec) {
		value, err := b.value(ctx, vm.Namespace, reference)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", reference.path, err)
		}
		values[reference.path.String()] = value
	}
	return values, nil
}

func (b *Bootstrap) value(ctx context.Context, namespace string, reference reference) ([]byte, error) {
	for _, key := range append([]string{reference.from.Key}, reference.other...) {
		value, err := b.Secrets.Value(ctx, namespace, reference.from.Name, key)
		if !errors.Is(err, failure.NotFound) {
			return value, err
		}
	}
	return nil, fmt.Errorf("there is no Secret %q with a key %q in the namespace %q: create it: %w",
		reference.from.Name, reference.from.Key, namespace, failure.NotFound)
}
