// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"errors"

	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

// keys are those of the tests.
func keys() *machine.Keys { return machine.NewKeys([]byte("one of the tests")) }

// encode gives what lies in a machine's ExtraConfig.
func encode(m *Metadata) (string, error) {
	head, body, err := m.Record()
	if err != nil {
		return "", err
	}
	return keys().Encode(head, body)
}

func decode(value string) (*Metadata, error) {
	record := keys().Decode(value)
	switch {
	case record.Err != nil:
		return nil, record.Err
	case record.Unproven != "":
		return nil, errors.New(record.Unproven)
	}
	return Decode(record.Head, record.Body)
}
