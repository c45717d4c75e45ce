// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// kept are the policies as they are remembered, in the encoding of the API: that of JSON does not know their rules.
type kept struct {
	XMLName  xml.Name                        `xml:"kept"`
	Made     int                             `xml:"made"`
	Profiles []pbmtypes.PbmCapabilityProfile `xml:"profile"`
}

// Remember is what Recall needs of the policies.
func (p *ProfileManager) Remember() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := kept{Made: p.made}
	for _, profile := range p.profiles {
		k.Profiles = append(k.Profiles, *profile)
	}
	var text bytes.Buffer
	if err := xml.NewEncoder(&text).Encode(&k); err != nil {
		return nil, fmt.Errorf("write storage policies: %w", err)
	}
	return text.Bytes(), nil
}

// Recall has the policies be as they were.
func (p *ProfileManager) Recall(text []byte) error {
	var k kept
	decoder := xml.NewDecoder(bytes.NewReader(text))
	decoder.TypeFunc = func(name string) (reflect.Type, bool) {
		if kind, ok := types.TypeFunc()("pbm:" + name); ok {
			return kind, true
		}
		return types.TypeFunc()(name)
	}
	if err := decoder.Decode(&k); err != nil {
		return fmt.Errorf("read storage policies: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made, p.profiles = k.Made, nil
	for i := range k.Profiles {
		p.profiles = append(p.profiles, &k.Profiles[i])
	}
	return nil
}

// keptOf are the policies of one machine.
type keptOf struct {
	Home  *string          `json:"home,omitempty"`
	Disks map[int32]string `json:"disks,omitempty"`
}

// RememberOf is what RecallOf needs of the policies of a machine, nil for nothing.
func (p *ProfileManager) RememberOf(object mo.Reference) (json.RawMessage, error) {
	ref := object.Reference()
	if ref.Type != "VirtualMachine" {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k := keptOf{Disks: p.disks[ref.Value]}
	if home, ok := p.homes[ref.Value]; ok {
		k.Home = &home
	}
	if k.Home == nil && len(k.Disks) == 0 {
		return nil, nil
	}
	return json.Marshal(k)
}

// RecallOf gives a machine the policies that it had.
func (p *ProfileManager) RecallOf(object mo.Reference, text json.RawMessage) error {
	var k keptOf
	if err := json.Unmarshal(text, &k); err != nil {
		return fmt.Errorf("read the storage policies of a machine: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	machine := object.Reference().Value
	if k.Home != nil {
		p.homes[machine] = *k.Home
	}
	if len(k.Disks) > 0 {
		p.disks[machine] = k.Disks
	}
	return nil
}
