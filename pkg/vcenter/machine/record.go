// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// NamespacedNameKey is the key of ExtraConfig in which other tools look for namespace/name.
	NamespacedNameKey = "vmservice.namespacedName"

	recordVersion = "v2"
	// maxRecord limits what is written, so that a virtual machine's configuration file stays small and no limit of
	// vCenter's own is met.
	maxRecord = 128 << 10
	// maxBody limits what is unpacked: a short value may be made to unpack to gigabytes.
	maxBody = 1 << 20
)

// EncodeRecord gives the value of ExtraConfig. Equal records give equal values.
//
// It is "v2:", the head as JSON and the body compressed, both in base64 with a dot between them: nothing in it means
// something to the file that the machine's configuration is kept in, and the head can be read without the body.
func EncodeRecord(head facts.Head, body []byte) (string, error) {
	name := head.Namespace + "/" + head.Name
	said, err := json.Marshal(head)
	if err != nil {
		return "", fmt.Errorf("encode the record of virtual machine %q: %w", name, err)
	}
	var b bytes.Buffer
	b.WriteString(recordVersion + ":" + base64.StdEncoding.EncodeToString(said) + ".")
	encoder := base64.NewEncoder(base64.StdEncoding, &b)
	// Writing to memory cannot fail.
	packer, _ := gzip.NewWriterLevel(encoder, gzip.BestCompression)
	_, _ = packer.Write(body)
	_ = packer.Close()
	_ = encoder.Close()
	if len(body) > maxBody || b.Len() > maxRecord {
		return "", fmt.Errorf("the metadata of virtual machine %q is too large: %d bytes where %d fit, %d compressed where "+
			"%d fit: "+
			"shorten its annotations, labels or managedFields: %w", name, len(body), maxBody, b.Len(), maxRecord,
			failure.Invalid)
	}
	return b.String(), nil
}

// DecodeRecord reads a value of ExtraConfig. It does not say whether the record counts for the machine that carries it.
func DecodeRecord(value string) (facts.Head, []byte, error) {
	head, body, err := decodeRecord(value)
	if err != nil {
		return facts.Head{}, nil, err
	}
	return head, body, nil
}

func decodeRecord(value string) (head facts.Head, body []byte, err error) {
	version, rest, found := strings.Cut(value, ":")
	if !found || len(version) < 2 || version[0] != 'v' || strings.Trim(version[1:], "0123456789") != "" {
		return head, nil, errors.New("it does not begin with a version such as v2:")
	}
	if version != recordVersion {
		return head, nil, fmt.Errorf("version %s was written by another version of Pacific, and this one knows %s alone",
			version, recordVersion)
	}
	said, packed, found := strings.Cut(rest, ".")
	if !found {
		return head, nil, errors.New("it has no two parts")
	}
	raw, err := base64.StdEncoding.DecodeString(said)
	if err != nil {
		return head, nil, fmt.Errorf("unpack its head: %w", err)
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return head, nil, fmt.Errorf("parse its head: %w", err)
	}
	if head.UID == "" {
		return head, nil, errors.New("it has no uid")
	}
	unpacker, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(packed)))
	if err != nil {
		return head, nil, fmt.Errorf("unpack: %w", err)
	}
	body, err = io.ReadAll(io.LimitReader(unpacker, maxBody+1))
	if err != nil {
		return head, nil, fmt.Errorf("unpack: %w", err)
	}
	if len(body) > maxBody {
		return head, nil, fmt.Errorf("it unpacks to more than %d bytes", maxBody)
	}
	return head, body, nil
}
