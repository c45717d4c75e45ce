// SPDX-License-Identifier: Apache-2.0

package vcentertest

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
)

// Forge changes a record as somebody does who may edit a machine's advanced parameters and has no key: all of what it
// says, and not its proof. The body is JSON's.
func Forge(value string, change func(head *facts.Head, body map[string]any)) (string, error) {
	parts := strings.Split(value, ".")
	if len(parts) != 4 {
		return "", fmt.Errorf("a record has four parts: %q", value)
	}
	said, err := base64.StdEncoding.DecodeString(parts[1])
	packed, packedErr := base64.StdEncoding.DecodeString(parts[2])
	unpacker, gzipErr := gzip.NewReader(bytes.NewReader(packed))
	if err := errors.Join(err, packedErr, gzipErr); err != nil {
		return "", err
	}
	text, err := io.ReadAll(unpacker)
	head, body := facts.Head{}, map[string]any{}
	if err := errors.Join(err, json.Unmarshal(said, &head), json.Unmarshal(text, &body)); err != nil {
		return "", err
	}
	change(&head, body)
	said, err = json.Marshal(head)
	text, textErr := json.Marshal(body)
	var b bytes.Buffer
	packer := gzip.NewWriter(&b)
	_, writeErr := packer.Write(text)
	parts[1], parts[2] = base64.StdEncoding.EncodeToString(said), ""
	if err := errors.Join(err, textErr, writeErr, packer.Close()); err != nil {
		return "", err
	}
	parts[2] = base64.StdEncoding.EncodeToString(b.Bytes())
	return strings.Join(parts, "."), nil
}
