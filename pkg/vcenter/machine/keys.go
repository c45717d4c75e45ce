// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// What is proven, and what a key is called by, so that the one can never be taken for the other.
const (
	purposeRecord = "openpacific/record\x00"
	purposeName   = "openpacific/key\x00"
	// nameBytes is how much of a key's name stands in a record: enough to tell keys apart, and nothing of the key.
	nameBytes = 8
)

// Keys prove that an installation wrote a record. Whoever may edit a machine's advanced parameters can write any text
// there, or one that stood in another machine: only who has a key can write one that counts, and only for the machine
// whose instanceUuid is in it.
//
// They are never written anywhere, nor shown. Nil proves nothing.
type Keys struct {
	proves string
	known  map[string][]byte
}

// NewKeys returns keys of which the first proves what is written, and all what is read.
func NewKeys(proves []byte, others ...[]byte) *Keys {
	k := &Keys{proves: keyName(proves), known: map[string][]byte{}}
	for _, key := range append([][]byte{proves}, others...) {
		k.known[keyName(key)] = key
	}
	return k
}

// Name is what the key that proves what is written is called by in records. It tells nothing of the key.
func (k *Keys) Name() string { return k.proves }

// Format keeps the keys out of whatever prints them.
func (k *Keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(keys)")) }

func keyName(key []byte) string { return hex.EncodeToString(code(key, purposeName, "")[:nameBytes]) }

// prove returns the proof of a text under the key that is called so.
func (k *Keys) prove(name, text string) []byte { return code(k.known[name], purposeRecord, text) }

// doubt says why a text is not proven, empty where it is.
func (k *Keys) doubt(name, text string, proof []byte) string {
	if k == nil || k.known[name] == nil {
		if len(name) > 2*nameBytes {
			return "what it calls the key by which it would prove that is the name of none"
		}
		return fmt.Sprintf("the key %q, by which it would prove that, is not one of this installation's", name)
	}
	if !hmac.Equal(proof, k.prove(name, text)) {
		return "its proof does not fit what it says, as after somebody has edited it"
	}
	return ""
}

func code(key []byte, purpose, text string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(purpose)) // writing to a hash cannot fail
	_, _ = mac.Write([]byte(text))
	return mac.Sum(nil)
}

// Encode gives the value of ExtraConfig, with its proof. Equal records give equal values under the same key.
func (k *Keys) Encode(head facts.Head, body []byte) (string, error) {
	if k == nil {
		return "", fmt.Errorf("there is no key to prove records by: %w", failure.Unavailable)
	}
	text, err := encodeRecord(k.proves, head, body)
	if err != nil {
		return "", err
	}
	return text + separator + base64Text(k.prove(k.proves, text)), nil
}

// Decode reads a value of ExtraConfig. It says whether the record is proven, and not whether it counts for the machine
// that carries it: that it does where its head has that machine's instanceUuid.
func (k *Keys) Decode(value string) facts.Record {
	record, err := k.decode(value)
	if err != nil {
		return facts.Record{Err: err}
	}
	return record
}

func (k *Keys) decode(value string) (record facts.Record, err error) {
	parts, err := splitRecord(value)
	if err != nil {
		return record, err
	}
	if record.Head, err = decodeHead(parts.head); err != nil {
		return record, err
	}
	// What nobody has proved is not unpacked.
	if record.Unproven = k.doubt(parts.key, parts.text, parts.proof); record.Unproven != "" {
		return record, nil
	}
	record.Body, err = unpack(parts.body)
	return record, err
}
