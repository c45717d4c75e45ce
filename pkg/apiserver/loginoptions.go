// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	restclient "k8s.io/client-go/rest"
)

// LoginOptions are those of the login service.
type LoginOptions struct {
	// BindAddress and Port are the listener's. Port 0: no login service.
	BindAddress string
	Port        int
	// Issuer is the iss of every token and where those who verify read the
	// keys: the listener's URL as they reach it, with a path.
	Issuer string
	// KubeAPIHost and KubeAPIPort are what clients are told to talk to. Empty:
	// the name that they called the login service by, and 6443.
	KubeAPIHost, KubeAPIPort string
	// KubeAPICAFile holds the authorities of the certificate that the Kubernetes API
	// shows there. Empty: those by which this server itself knows kube-apiserver.
	KubeAPICAFile string
	// ServeKubeAPI forwards everything else to kube-apiserver, so that one
	// address serves both.
	ServeKubeAPI bool
	// DefaultDomain is the domain of users who give none.
	DefaultDomain string
	// DomainAliases are other names of domains, such as CORP for corp.example.com.
	DomainAliases map[string]string
	// TrustedProxies are those, as addresses or CIDRs, whose X-Forwarded-For says
	// who speaks.
	TrustedProxies []string
}

func (o *LoginOptions) addFlags(flags *pflag.FlagSet) {
	const (
		issuer = "issuer of the tokens: the URL, with a path, at which kube-apiserver reaches the login service, " +
			"such as https://login.example.com/openidconnect/vsphere.local"
		host = "address of the Kubernetes API that clients are told; what they called the login service by, if not set"
		ca   = "PEM file with the authorities of the certificate that the Kubernetes API shows to clients, which are told " +
			"to them; those by which this server knows kube-apiserver, if not set"
		serve   = "forward all other requests to kube-apiserver, so that one address serves login and the API"
		aliases = "other names of domains, as CORP=corp.example.com: whoever gives one is of the domain, " +
			"and failed logins are counted together"
		proxies = "addresses or CIDRs of proxies in front of the login service: the client's address is taken " +
			"from their X-Forwarded-For, and from nobody else's"
	)
	flags.StringVar(&o.BindAddress, "login-bind-address", o.BindAddress, "address on which the login service listens")
	flags.IntVar(&o.Port, "login-port", o.Port, "port of the login service, for `kubectl vsphere login`; 0 for none")
	flags.StringVar(&o.Issuer, "login-issuer", o.Issuer, issuer)
	flags.StringVar(&o.KubeAPIHost, "login-kube-api-host", o.KubeAPIHost, host)
	flags.StringVar(&o.KubeAPIPort, "login-kube-api-port", o.KubeAPIPort,
		"port of the Kubernetes API that clients are told; 6443, if not set")
	flags.StringVar(&o.KubeAPICAFile, "login-kube-api-ca", o.KubeAPICAFile, ca)
	flags.BoolVar(&o.ServeKubeAPI, "login-serve-kube-api", o.ServeKubeAPI, serve)
	flags.StringVar(&o.DefaultDomain, "login-default-domain", o.DefaultDomain, "domain of users who give none")
	flags.StringToStringVar(&o.DomainAliases, "login-domain-aliases", o.DomainAliases, aliases)
	flags.StringSliceVar(&o.TrustedProxies, "login-trusted-proxies", o.TrustedProxies, proxies)
}

func (o LoginOptions) validate() []error {
	if o.Port == 0 {
		return nil
	}
	var mistakes []error
	if o.Port < 0 || o.Port > 65535 {
		mistakes = append(mistakes, fmt.Errorf("--login-port %d is not a port: "+
			"give one from 1 to 65535, or 0 for no login service", o.Port))
	}
	if net.ParseIP(o.BindAddress) == nil {
		mistakes = append(mistakes, fmt.Errorf("--login-bind-address %q is not an IP address", o.BindAddress))
	}
	issuer, err := url.Parse(o.Issuer)
	if err != nil || issuer.Scheme != "https" || issuer.Host == "" ||
		strings.Trim(issuer.Path, "/") == "" || strings.HasSuffix(o.Issuer, "/") {
		mistakes = append(mistakes, fmt.Errorf("--login-issuer %q: "+
			"give the https URL at which kube-apiserver reaches the login service, with a path and without a slash at its end",
			o.Issuer))
	}
	mistakes = append(mistakes, readable("--login-kube-api-ca", o.KubeAPICAFile)...)
	real := map[string]string{}
	for _, alias := range slices.Sorted(maps.Keys(o.DomainAliases)) {
		name, domain := strings.ToLower(alias), strings.ToLower(o.DomainAliases[alias])
		switch before, twice := real[name]; {
		case !isDomain(name) || !isDomain(domain):
			mistakes = append(mistakes, fmt.Errorf("--login-domain-aliases %s=%s: give an alias and a domain, as "+
				"CORP=corp.example.com",
				alias, o.DomainAliases[alias]))
		case twice && before != domain:
			mistakes = append(mistakes, fmt.Errorf("--login-domain-aliases: %s is the alias of two domains, %s and %s: drop one",
				name, before, domain))
		}
		real[name] = domain
	}
	for _, text := range o.TrustedProxies {
		if _, err := parsePrefix(text); err != nil {
			mistakes = append(mistakes, fmt.Errorf("--login-trusted-proxies %q: give addresses or CIDRs, as 10.0.0.0/8", text))
		}
	}
	return mistakes
}

// isDomain says whether a text can be a domain's name, or its short one.
func isDomain(text string) bool {
	return text != "" && !strings.ContainsAny(text, `\@/: `)
}

// domainAliases are the aliases in lower case.
func (o LoginOptions) domainAliases() map[string]string {
	aliases := map[string]string{}
	for alias, domain := range o.DomainAliases {
		aliases[strings.ToLower(alias)] = strings.ToLower(domain)
	}
	return aliases
}

// trustedProxies are those that are written right, as validate has seen to.
func (o LoginOptions) trustedProxies() []netip.Prefix {
	var proxies []netip.Prefix
	for _, text := range o.TrustedProxies {
		if prefix, err := parsePrefix(text); err == nil {
			proxies = append(proxies, prefix)
		}
	}
	return proxies
}

// parsePrefix reads a CIDR, or an address, which is one of itself alone.
func parsePrefix(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Unmap().Prefix(address.Unmap().BitLen())
	}
	return netip.ParsePrefix(text)
}

// authorities returns what reads the authorities of the Kubernetes API's certificate,
// nil where there are none: then it is verified with those of the system.
func (o LoginOptions) authorities(kubeAPI *restclient.Config) func() ([]byte, error) {
	file := cmp.Or(o.KubeAPICAFile, kubeAPI.CAFile)
	switch {
	case o.KubeAPICAFile == "" && len(kubeAPI.CAData) > 0:
		return func() ([]byte, error) { return kubeAPI.CAData, nil }
	case file != "":
		return func() ([]byte, error) { return os.ReadFile(file) } // It may change.
	}
	return nil
}
