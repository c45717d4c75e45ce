// SPDX-License-Identifier: Apache-2.0

package projection

import "github.com/openpacific/pacific/pkg/vcenter/machine"

// encode gives what lies in a machine's ExtraConfig.
func encode(m *Metadata) (string, error) {
	head, body, err := m.Record()
	if err != nil {
		return "", err
	}
	return machine.EncodeRecord(head, body)
}

func decode(value string) (*Metadata, error) {
	head, body, err := machine.DecodeRecord(value)
	if err != nil {
		return nil, err
	}
	return Decode(head, body)
}
