// SPDX-License-Identifier: Apache-2.0

package wcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// hostName is what a host may look like: what names and addresses are made of,
// and nothing that means something in a URL, a kubeconfig or a terminal.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?$`)

// portNumber is what a port may look like.
var portNumber = regexp.MustCompile(`^[0-9]{1,5}$`)

// Address is where a login service listens.
type Address struct {
	Host string // a name or an IP address, in lower case, without brackets
	Port string // empty for 443
}

// ParseAddress reads what people write: a host, with or without https://, a
// port, and a slash at the end.
func ParseAddress(text string) (Address, error) {
	address, err := parseAddress(strings.TrimSpace(text))
	if err != nil {
		return Address{}, fmt.Errorf("%q is not the address of a server: %w", text, err)
	}
	return address, nil
}

func parseAddress(text string) (Address, error) {
	if _, err := netip.ParseAddr(text); err == nil && strings.Contains(text, ":") {
		return Address{Host: strings.ToLower(text)}, nil
	}
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	location, err := url.Parse(text)
	if err != nil {
		return Address{}, errors.New("it cannot be parsed")
	}
	switch {
	case location.Scheme != "https":
		return Address{}, errors.New("only https is spoken")
	case location.User != nil:
		return Address{}, errors.New("a user name does not belong in it")
	case strings.Trim(location.Path, "/") != "" || location.RawQuery != "" || location.Fragment != "":
		return Address{}, errors.New("a path does not belong in it")
	}
	address := At(strings.ToLower(location.Hostname()), location.Port())
	_, notIP := netip.ParseAddr(address.Host)
	if notIP != nil && !hostName.MatchString(address.Host) {
		return Address{}, errors.New("the host is neither a name nor an IP address")
	}
	if address.Port != "" && !portNumber.MatchString(address.Port) {
		return Address{}, errors.New("the port is not a number")
	}
	return address, nil
}

// At is an address of a host and a port; port 443 is the same as none.
func At(host, port string) Address {
	if port == "443" {
		port = ""
	}
	return Address{Host: host, Port: port}
}

// String is how contexts, clusters and users are called after the address.
func (a Address) String() string {
	if a.Port == "" {
		return a.Host
	}
	return net.JoinHostPort(a.Host, a.Port)
}

// IsIP says whether the host is an IP address.
func (a Address) IsIP() bool {
	_, err := netip.ParseAddr(a.Host)
	return err == nil
}

// URL is where a path of the login service is.
func (a Address) URL(path string) string {
	return HTTPS(a.Host, a.Port) + path
}

// HTTPS returns the URL of a host and a port, which may be empty.
func HTTPS(host, port string) string {
	switch {
	case port != "":
		return "https://" + net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		return "https://[" + host + "]"
	}
	return "https://" + host
}
