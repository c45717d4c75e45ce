// SPDX-License-Identifier: Apache-2.0

package up

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	certutil "k8s.io/client-go/util/cert"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/pkg/controller/virtualmachineservice"
	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/ledger"
)

// Options are the flags of `supervisor up`.
type Options struct {
	Sim         bool
	DataDir     string
	BindAddress string
	SecurePort  int
	// LoginPort is where `kubectl vsphere login` goes, and the API as well. 0: a free one.
	LoginPort int
	// LoginDefaultDomain is the domain of people who give none, LoginDomainAliases are other names of domains.
	LoginDefaultDomain string
	LoginDomainAliases map[string]string
	VCenter            string
	VCenterCredentials string
	VCenterCA          string
	VCenterThumbprint  string
	NamespacesFolder   string
	NamespacesFolderID string
	ZoneClusters       []string
	ClusterLibraries   []string
	// LoadBalancerAddresses are those that services of type LoadBalancer may be given.
	LoadBalancerAddresses []string
	// GuestNetwork is the loopback network on which simulated guests and the addresses of services answer.
	GuestNetwork string
	// InstallationID tells the Supervisor's records in vCenter from others', where etcd holds none yet.
	InstallationID string
	// RecordKey is the name of the key in etcd that proves records, empty for vsphere-apiserver's default.
	RecordKey string
	// NewAuthority goes on with another certificate authority where one is lost or different.
	NewAuthority bool
	// SyntheticMachines, if not 0, is how many made-up machines are served in place of vCenter's, for benchmarks.
	SyntheticMachines int
	// CertificateLife, if not 0, is how long certificates are good for, for tests of their renewal.
	CertificateLife time.Duration
	// Profile serves the profiles of the API servers, for benchmarks.
	Profile bool
}

// DefaultOptions are the options where nothing is said.
func DefaultOptions() Options {
	return Options{DataDir: datadir.Default, BindAddress: "127.0.0.1", SecurePort: 6443, LoginPort: 7443,
		GuestNetwork: "127.66.0.0/16"}
}

// AddFlags binds the options to flags.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.Sim, "sim", o.Sim, "start a simulated vCenter and run on that")
	flags.StringVar(&o.DataDir, "data-dir", o.DataDir, "folder for everything that is kept: certificates, etcd's data, "+
		"logs, state")
	flags.StringVar(&o.BindAddress, "bind-address", o.BindAddress,
		"IP address on which the Kubernetes API is served; everything else stays on loopback")
	flags.IntVar(&o.SecurePort, "secure-port", o.SecurePort, "port on which the Kubernetes API is served")
	flags.IntVar(&o.LoginPort, "login-port", o.LoginPort, "port for kubectl vsphere login, which serves the Kubernetes "+
		"API as "+
		"well; 0 for a free one")
	flags.StringVar(&o.LoginDefaultDomain, "login-default-domain", o.LoginDefaultDomain,
		"domain of people who give none when they log in")
	flags.StringToStringVar(&o.LoginDomainAliases, "login-domain-aliases", o.LoginDomainAliases,
		"other names of domains, as CORP=corp.example.com: whoever gives one is of the domain, and failed logins are "+
			"counted together")
	flags.StringVar(&o.VCenter, "vcenter", o.VCenter, "URL of the vCenter to run on, for example "+
		"https://vcenter.example.com")
	flags.StringVar(&o.VCenterCredentials, "vcenter-credentials", o.VCenterCredentials,
		"YAML file with username and password for --vcenter; read again when it changes")
	flags.StringVar(&o.VCenterCA, "vcenter-ca", o.VCenterCA,
		"PEM file with the authority that signs vCenter's certificate; the "+
			"system's authorities where none is given")
	flags.StringVar(&o.VCenterThumbprint, "vcenter-thumbprint", o.VCenterThumbprint,
		"SHA-256 thumbprint of vCenter's certificate, to trust that very certificate")
	flags.StringVar(&o.NamespacesFolder, "namespaces-folder", o.NamespacesFolder,
		`VM folder whose subfolders are the namespaces: a name or an inventory path ("Namespaces" where none is given)`)
	flags.StringVar(&o.NamespacesFolderID, "namespaces-folder-id", o.NamespacesFolderID,
		"managed-object id of the namespaces folder, to serve one that got the name of the one that was served so far")
	flags.StringSliceVar(&o.ZoneClusters, "zone-clusters", o.ZoneClusters,
		"names of the clusters that are zones, in which vSphere Namespaces get resource pools; all where none is given")
	flags.StringArrayVar(&o.ClusterLibraries, "cluster-content-library", o.ClusterLibraries,
		"name or id of a content library whose images everybody may use, in all vSphere Namespaces; once for each, none where "+
			"none is given")
	flags.StringSliceVar(&o.LoadBalancerAddresses, "load-balancer-addresses", o.LoadBalancerAddresses,
		"addresses for VirtualMachineServices of type LoadBalancer: networks, spans such as 192.0.2.10-192.0.2.20, or single "+
			"ones; with --sim those of the guest network where none is given, 127.66.250.0/24, otherwise none")
	flags.StringVar(&o.GuestNetwork, "guest-network", o.GuestNetwork,
		"with --sim: loopback network on which simulated guests answer, and services of type LoadBalancer; two Supervisors on "+
			"one computer need two")
	flags.StringVar(&o.InstallationID, "installation-id", o.InstallationID,
		"the UUID that `supervisor status` printed before etcd's data was lost, so that the machines of then are known "+
			"again; a new "+
			"one where none is given")
	flags.StringVar(&o.RecordKey, "record-key", o.RecordKey,
		"name of the key in etcd that proves records in vCenter to be this Supervisor's; give another one to have a new key "+
			"made")
	flags.BoolVar(&o.NewAuthority, "new-authority", o.NewAuthority,
		"where a certificate authority is lost or has been replaced, go on with the one that lies there, or else with a "+
			"new one")
	flags.IntVar(&o.SyntheticMachines, "synthetic-machines", o.SyntheticMachines,
		"serve that many made-up machines in place of vCenter's, for benchmarks")
	flags.BoolVar(&o.Profile, "profiling", o.Profile, "serve /debug/pprof of the API servers, for benchmarks")
	flags.DurationVar(&o.CertificateLife, "certificate-life", o.CertificateLife,
		"how long certificates are good for, for tests of their renewal")
	for _, name := range []string{"synthetic-machines", "profiling", "certificate-life"} {
		// It fails for unknown flags only.
		_ = flags.MarkHidden(name)
	}
}

// Validate returns every mistake at once; each names the flag and the remedy.
func (o Options) Validate() error {
	var mistakes []error
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Errorf(format, args...)) }

	if o.DataDir == "" {
		wrong("--data-dir is empty: name a folder, or leave the flag out for %s", datadir.Default)
	} else if info, err := os.Stat(o.DataDir); err == nil && !info.IsDir() {
		wrong("--data-dir %s is not a folder: name a folder; it is made when it does not exist", o.DataDir)
	}
	if net.ParseIP(o.BindAddress) == nil {
		wrong("--bind-address %q is not an IP address: give one of this machine's, 127.0.0.1 for this machine alone, or "+
			"0.0.0.0 for "+
			"all", o.BindAddress)
	}
	if o.SecurePort < 1 || o.SecurePort > 65535 {
		wrong("--secure-port %d is not a port: give a number from 1 to 65535", o.SecurePort)
	}
	if o.LoginPort < 0 || o.LoginPort > 65535 || o.LoginPort == o.SecurePort {
		wrong("--login-port %d: give a number from 1 to 65535 other than --secure-port, or 0 for a free one", o.LoginPort)
	}
	if _, err := virtualmachineservice.ParsePool(o.LoadBalancerAddresses); err != nil {
		wrong("--load-balancer-addresses: %w", err)
	}
	if _, err := guestaddress.Parse(o.GuestNetwork); err != nil {
		wrong("--guest-network: %w", err)
	}
	if o.RecordKey != "" {
		if err := ledger.ValidateRecordKeyName(o.RecordKey); err != nil {
			wrong("--record-key: %w", err)
		}
	}
	if o.InstallationID != "" {
		if err := ledger.ValidateInstallation(o.InstallationID); err != nil {
			wrong("--installation-id %w", err)
		}
	}

	switch {
	case o.Sim && o.VCenter != "":
		wrong("--sim and --vcenter exclude each other: leave out --sim to run on %s, or --vcenter to run on a simulated one",
			redact(o.VCenter))
	case !o.Sim && o.VCenter == "":
		wrong("no vCenter is named: give --vcenter URL and --vcenter-credentials FILE, or --sim to try it on a simulated one")
	}
	if o.SyntheticMachines < 0 || o.SyntheticMachines > 0 && !o.Sim {
		wrong("--synthetic-machines %d: give a positive number, and --sim with it", o.SyntheticMachines)
	}
	if o.CertificateLife != 0 && o.CertificateLife < 15*time.Second {
		wrong("--certificate-life %s is too short to renew in: give 15s or more", o.CertificateLife)
	}
	if o.VCenter == "" {
		for _, flag := range []struct{ name, value string }{
			{"--vcenter-credentials", o.VCenterCredentials}, {"--vcenter-ca", o.VCenterCA},
			{"--vcenter-thumbprint", o.VCenterThumbprint},
		} {
			if flag.value != "" {
				wrong("%s has no meaning without --vcenter: leave it out, or give --vcenter URL", flag.name)
			}
		}
		return errors.Join(mistakes...)
	}

	if err := checkURL(o.VCenter); err != nil {
		wrong("--vcenter %w", err)
	}
	if o.VCenterCredentials == "" {
		wrong("--vcenter needs --vcenter-credentials: a YAML file with the keys username and password")
	} else if err := checkReadable(o.VCenterCredentials); err != nil {
		wrong("--vcenter-credentials %w: name a YAML file with the keys username and password", err)
	}
	if o.VCenterCA != "" && o.VCenterThumbprint != "" {
		wrong("--vcenter-ca and --vcenter-thumbprint exclude each other: give the authority or the one certificate to trust")
	}
	if o.VCenterCA != "" {
		if _, err := certutil.CertsFromFile(o.VCenterCA); err != nil {
			wrong("--vcenter-ca %s holds no certificate (%v): name a PEM file, such as one from "+
				"https://<vcenter>/certs/download.zip",
				o.VCenterCA, err)
		}
	}
	if o.VCenterThumbprint != "" {
		if digest, err := hex.DecodeString(strings.ReplaceAll(o.VCenterThumbprint, ":", "")); err != nil ||
			len(digest) != 32 {
			wrong("--vcenter-thumbprint %q is not a SHA-256 thumbprint: give 64 hexadecimal digits, with or without colons",
				o.VCenterThumbprint)
		}
	}
	return errors.Join(mistakes...)
}

func checkURL(value string) error {
	parsed, err := url.Parse(value)
	switch {
	case err != nil:
		return errors.New("is not a URL: give one like https://vcenter.example.com")
	case parsed.User != nil:
		return fmt.Errorf("%s holds a user name: leave it out and put user name and password into the file of "+
			"--vcenter-credentials", parsed.Redacted())
	case parsed.Scheme != "https" || parsed.Host == "":
		return fmt.Errorf("%s is not an https URL: give one like https://vcenter.example.com", parsed.Redacted())
	case parsed.Path != "" && parsed.Path != "/" && parsed.Path != "/sdk":
		return fmt.Errorf("%s has the path %s: give host and port alone", parsed.Redacted(), parsed.Path)
	case parsed.RawQuery != "" || parsed.Fragment != "":
		return fmt.Errorf("%s has a query or a fragment: give host and port alone", parsed.Redacted())
	}
	return nil
}

func checkReadable(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder", path)
	}
	return nil
}

// redact keeps a password that somebody wrote into a URL out of messages.
func redact(value string) string {
	parsed, err := url.Parse(value)
	if err != nil {
		return "the named vCenter"
	}
	return parsed.Redacted()
}
