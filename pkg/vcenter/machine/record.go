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

	recordVersion = "v3"
	separator     = "."
	// maxRecord limits what is written, so that a virtual machine's configuration file stays small and no limit of
	// vCenter's own is met.
	maxRecord = 128 << 10
	// maxValue is how long what is written can be, with its proof. What is longer nobody here has written.
	maxValue = maxRecord + 64
	// maxVersion, maxInstallation and maxTold limit what is told of what somebody may have made up, such as in conditions.
	maxVersion, maxInstallation, maxTold = 8, 64, 200
	// maxBody limits what is unpacked: a short value may be made to unpack to gigabytes.
	maxBody = 1 << 20
)

// A record is "v3:" and four parts with dots between them: what the key is called by which it is proven, the head as
// JSON, the body compressed, and the proof of all that stands before it. The last three are in base64: nothing in them
// means something to the file that the machine's configuration is kept in, and the head can be read without the body.

// encodeRecord gives a record up to its proof.
func encodeRecord(key string, head facts.Head, body []byte) (string, error) {
	name := head.Namespace + "/" + head.Name
	said, err := json.Marshal(head)
	if err != nil {
		return "", fmt.Errorf("encode the record of virtual machine %q: %w", name, err)
	}
	var b bytes.Buffer
	b.WriteString(recordVersion + ":" + key + separator + base64Text(said) + separator)
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

// parts are those of a record. text is what the proof is of.
type parts struct {
	key, head, body, text string
	proof                 []byte
}

func splitRecord(value string) (parts, error) {
	if len(value) > maxValue {
		return parts{}, fmt.Errorf("it is %d bytes long, where no record is longer than %d", len(value), maxValue)
	}
	version, rest, found := strings.Cut(value, ":")
	if !found || len(version) < 2 || len(version) > maxVersion || version[0] != 'v' || strings.Trim(version[1:], "0123456789") != "" {
		return parts{}, errors.New("it does not begin with a version such as v3:")
	}
	if version != recordVersion {
		return parts{}, fmt.Errorf("version %s was written by another version of Pacific, and this one knows %s alone",
			version, recordVersion)
	}
	split := strings.Split(rest, separator)
	if len(split) != 4 {
		return parts{}, errors.New("it has no four parts")
	}
	proof, err := base64.StdEncoding.DecodeString(split[3])
	if err != nil {
		return parts{}, fmt.Errorf("unpack its proof: %w", err)
	}
	return parts{key: split[0], head: split[1], body: split[2], proof: proof,
		text: value[:len(value)-len(separator)-len(split[3])]}, nil
}

func decodeHead(text string) (head facts.Head, err error) {
	said, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return head, fmt.Errorf("unpack its head: %w", err)
	}
	if err := json.Unmarshal(said, &head); err != nil {
		return facts.Head{}, fmt.Errorf("parse its head: %.*s", maxTold, err.Error())
	}
	switch {
	case head.UID == "":
		return facts.Head{}, errors.New("it has no uid")
	case len(head.Installation) > maxInstallation:
		return facts.Head{}, errors.New("what it calls its installation is no id of one")
	}
	return head, nil
}

func unpack(text string) (body []byte, err error) {
	unpacker, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	body, err = io.ReadAll(io.LimitReader(unpacker, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("it unpacks to more than %d bytes", maxBody)
	}
	return body, nil
}

func base64Text(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }
