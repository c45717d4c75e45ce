// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// MetadataKey is the key of ExtraConfig that holds the Metadata.
	MetadataKey = "pacific.metadata"
	// NamespacedNameKey is the key of ExtraConfig in which other tools look for namespace/name.
	NamespacedNameKey = "vmservice.namespacedName"

	metadataPrefix = "v1:"
	// maxMetadata limits what is written, so that a virtual machine's configuration file stays small and no limit of
	// vCenter's own is met.
	maxMetadata = 128 << 10
	// maxMetadataJSON limits what is unpacked: a short value may be made to unpack to gigabytes.
	maxMetadataJSON = 1 << 20
)

// errNewer says that a later version of Pacific wrote the value, which must be left alone.
var errNewer = errors.New("written by a newer Pacific")

// Metadata is what Kubernetes knows of a virtual machine and vCenter has no field for.
type Metadata struct {
	// UID is the instanceUuid of the virtual machine that the record was written for. A clone carries a copy of the record with
	// the original's UID, by which it is known not to count.
	UID k8stypes.UID `json:"uid"`
	// Sequence rises by one with each write, so that a writer sees when its own has come back.
	Sequence uint64 `json:"sequence"`
	// Created says that Pacific made this virtual machine and so may destroy it.
	Created bool `json:"created,omitempty"`

	Namespace                  string                      `json:"namespace"`
	Name                       string                      `json:"name"`
	Generation                 int64                       `json:"generation,omitempty"`
	Labels                     map[string]string           `json:"labels,omitempty"`
	Annotations                map[string]string           `json:"annotations,omitempty"`
	Finalizers                 []string                    `json:"finalizers,omitempty"`
	OwnerReferences            []metav1.OwnerReference     `json:"ownerReferences,omitempty"`
	ManagedFields              []metav1.ManagedFieldsEntry `json:"managedFields,omitempty"`
	DeletionTimestamp          *metav1.Time                `json:"deletionTimestamp,omitempty"`
	DeletionGracePeriodSeconds *int64                      `json:"deletionGracePeriodSeconds,omitempty"`

	// Spec holds the fields that somebody declared, and no other.
	Spec vmopv1.VirtualMachineSpec `json:"spec,omitzero"`
}

// Encode gives the value of ExtraConfig. Equal records give equal values.
func (m *Metadata) Encode() (string, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode metadata of virtual machine %q: %w", m.Namespace+"/"+m.Name, err)
	}
	var b bytes.Buffer
	b.WriteString(metadataPrefix)
	encoder := base64.NewEncoder(base64.StdEncoding, &b)
	// Writing to memory cannot fail.
	packer, _ := gzip.NewWriterLevel(encoder, gzip.BestCompression)
	_, _ = packer.Write(raw)
	_ = packer.Close()
	_ = encoder.Close()
	if len(raw) > maxMetadataJSON || b.Len() > maxMetadata {
		return "", fmt.Errorf("metadata of virtual machine %q is too large: %d bytes where %d fit, %d compressed where %d fit: "+
			"shorten its annotations, labels or managedFields: %w",
			m.Namespace+"/"+m.Name, len(raw), maxMetadataJSON, b.Len(), maxMetadata, failure.Invalid)
	}
	return b.String(), nil
}

// DecodeMetadata reads a value of ExtraConfig. It does not say whether the record counts for the machine that carries it.
func DecodeMetadata(value string) (*Metadata, error) {
	version, packed, found := strings.Cut(value, ":")
	if !found || len(version) < 2 || version[0] != 'v' || strings.Trim(version[1:], "0123456789") != "" {
		return nil, errors.New("it does not begin with a version such as v1:")
	}
	if version+":" != metadataPrefix {
		return nil, fmt.Errorf("version %s was %w", version, errNewer)
	}
	unpacker, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(packed)))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(unpacker, maxMetadataJSON+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if len(raw) > maxMetadataJSON {
		return nil, fmt.Errorf("it unpacks to more than %d bytes", maxMetadataJSON)
	}
	m := &Metadata{}
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if m.UID == "" {
		return nil, errors.New("it has no uid")
	}
	if problems := validation.IsDNS1123Subdomain(m.Name); len(problems) > 0 {
		return nil, fmt.Errorf("its name %q is not valid: %s", m.Name, problems[0])
	}
	return m, nil
}
