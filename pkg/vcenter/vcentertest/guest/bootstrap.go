// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// largest is how much a guest reads of what is compressed.
const largest = 16 << 20

// metadataKey is the key of ExtraConfig by which cloud-init is told of the machine.
const metadataKey = "guestinfo.metadata"

// Instance is what cloud-init has set up in a guest when it started first.
type Instance struct {
	// ID tells it from others: another one is set up anew.
	ID string `json:"id"`
	// Metadata is what it was told of the machine then, in its Encoding.
	Metadata string `json:"metadata"`
	Encoding string `json:"encoding,omitempty"`
}

// bootstrap is how a guest is to set itself up.
type bootstrap struct {
	hostName string
	// instance is which one cloud-init takes it for, and always says that it sets up the network at each start, and not at
	// the first one of an instance alone.
	instance string
	always   bool
	// links are by the address of the adapter, or by the name where there is no address.
	links []link
}

// link is what a guest is told about an adapter.
type link struct {
	name, mac   string
	addresses   []netip.Prefix
	dhcp        bool
	gateways    []string
	nameservers []string
	search      []string
	mtu         int
}

// decode reads a value of guestinfo in its encoding.
func decode(value, encoding string) ([]byte, error) {
	switch encoding {
	case "":
		return []byte(value), nil
	case "base64", "b64", "gzip+base64", "gz+b64":
	default:
		return nil, fmt.Errorf("the encoding %q is not known", encoding)
	}
	data, err := base64.StdEncoding.DecodeString(value)
	if err != nil || !strings.HasPrefix(encoding, "gz") {
		return data, err
	}
	reader, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(reader, largest))
}

// cloudConfig is what a guest takes of user data.
type cloudConfig struct {
	HostName string `json:"hostname"`
	FQDN     string `json:"fqdn"`
	Updates  struct {
		Network struct {
			When []string `json:"when"`
		} `json:"network"`
	} `json:"updates"`
}

// metadata is what a guest takes of cloud-init's metadata.
type metadata struct {
	InstanceID      string          `json:"instance-id"`
	LocalHostName   string          `json:"local-hostname"`
	HostName        string          `json:"hostname"`
	Network         json.RawMessage `json:"network"`
	NetworkEncoding string          `json:"network.encoding"`
}

// netplan is the second version of cloud-init's network configuration.
type netplan struct {
	Ethernets map[string]ethernet `json:"ethernets"`
}

type ethernet struct {
	Match struct {
		MACAddress string `json:"macaddress"`
	} `json:"match"`
	DHCP4     bool              `json:"dhcp4"`
	DHCP6     bool              `json:"dhcp6"`
	Addresses []json.RawMessage `json:"addresses"`
	Gateway4  string            `json:"gateway4"`
	Gateway6  string            `json:"gateway6"`
	MTU       int               `json:"mtu"`
	Routes    []struct {
		To  string `json:"to"`
		Via string `json:"via"`
	} `json:"routes"`
	Nameservers struct {
		Addresses []string `json:"addresses"`
		Search    []string `json:"search"`
	} `json:"nameservers"`
}

// readBootstrap reads how a guest is to set itself up. What it cannot read it passes over, as a guest does; the notes
// say what that was.
func readBootstrap(m *Machine) (b bootstrap, notes []string) {
	note := func(what string, err error) { notes = append(notes, fmt.Sprintf("%s: %v", what, err)) }
	if property := m.Properties["hostname"]; property != "" {
		b.hostName = property
	}
	if data := m.Properties["user-data"]; data != "" {
		if text, err := base64.StdEncoding.DecodeString(data); err == nil {
			data = string(text)
		}
		if err := b.user([]byte(data)); err != nil {
			note("the property user-data", err)
		}
	}
	for _, part := range []struct {
		key  string
		read func([]byte) error
	}{{metadataKey, b.meta}, {"guestinfo.userdata", b.user}} {
		value := m.ExtraConfig[part.key]
		if value == "" {
			continue
		}
		data, err := decode(value, m.ExtraConfig[part.key+".encoding"])
		if err == nil {
			err = part.read(data)
		}
		if err != nil {
			note(part.key, err)
		}
	}
	if before := m.Instance; before != nil && before.ID == b.instance && !b.always {
		var then bootstrap
		if data, err := decode(before.Metadata, before.Encoding); err == nil {
			_ = then.meta(data) // what could not be read then either
		}
		b.links = then.links
	}
	return b, notes
}

// settled is what cloud-init has set up once a guest has started that is to set itself up so.
func (b *bootstrap) settled(m *Machine) *Instance {
	now := &Instance{ID: b.instance, Metadata: m.ExtraConfig[metadataKey], Encoding: m.ExtraConfig[metadataKey+".encoding"]}
	switch {
	case now.Metadata == "", m.Instance != nil && m.Instance.ID == now.ID && !b.always:
		return m.Instance
	}
	return now
}

// user reads user data, of which only cloud-config is looked into. What it says of the name goes over everything else.
func (b *bootstrap) user(data []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("#cloud-config")) {
		return nil
	}
	var config cloudConfig
	if err := yaml.Unmarshal(data, &config); err != nil {
		return err
	}
	b.always = slices.Contains(config.Updates.Network.When, "boot")
	name, _, _ := strings.Cut(config.FQDN, ".")
	for _, name := range []string{name, config.HostName} {
		if name != "" {
			b.hostName = name
		}
	}
	return nil
}

func (b *bootstrap) meta(data []byte) error {
	var meta metadata
	if err := yaml.Unmarshal(data, &meta); err != nil {
		return err
	}
	b.instance = meta.InstanceID
	for _, name := range []string{meta.HostName, meta.LocalHostName} {
		if name != "" {
			b.hostName = name
		}
	}
	if len(meta.Network) == 0 {
		return nil
	}
	text := []byte(meta.Network)
	var encoded string
	if json.Unmarshal(text, &encoded) == nil {
		decoded, err := decode(encoded, meta.NetworkEncoding)
		if err != nil {
			return fmt.Errorf("network: %w", err)
		}
		text = decoded
	}
	return b.network(text)
}

func (b *bootstrap) network(text []byte) error {
	var plan struct {
		netplan
		Network *netplan `json:"network"` // which some put around it
	}
	if err := yaml.Unmarshal(text, &plan); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if plan.Network != nil {
		plan.netplan = *plan.Network
	}
	for name, e := range plan.Ethernets {
		l := link{
			name: name, mac: strings.ToLower(e.Match.MACAddress), dhcp: e.DHCP4 || e.DHCP6, mtu: e.MTU,
			nameservers: e.Nameservers.Addresses, search: e.Nameservers.Search,
		}
		for _, raw := range e.Addresses {
			prefix, err := addressIn(raw)
			if err != nil {
				return fmt.Errorf("network: the addresses of %s: %w", name, err)
			}
			l.addresses = append(l.addresses, prefix)
		}
		for _, gateway := range []string{e.Gateway4, e.Gateway6} {
			if gateway != "" {
				l.gateways = append(l.gateways, gateway)
			}
		}
		for _, route := range e.Routes {
			if route.To == "default" || route.To == "0.0.0.0/0" || route.To == "::/0" {
				l.gateways = append(l.gateways, route.Via)
			}
		}
		b.links = append(b.links, l)
	}
	return nil
}

// addressIn reads an address, which is a text, or the key of an object with options.
func addressIn(raw json.RawMessage) (netip.Prefix, error) {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		var options map[string]json.RawMessage
		if err := json.Unmarshal(raw, &options); err != nil {
			return netip.Prefix{}, err
		}
		for key := range options {
			text = key
		}
	}
	return netip.ParsePrefix(text)
}

// linkOf is what is said about an adapter, nil for nothing.
func (b *bootstrap) linkOf(index int, mac string) *link {
	for i := range b.links {
		if l := &b.links[i]; l.mac == strings.ToLower(mac) || l.mac == "" && l.name == nameOf(index) {
			return l
		}
	}
	return nil
}

// nameOf is what a guest calls an adapter that nobody has named.
func nameOf(index int) string { return fmt.Sprintf("eth%d", index) }
