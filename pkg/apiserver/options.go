// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/pflag"
	"github.com/vmware/govmomi/vim25/types"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"

	"github.com/openpacific/pacific/pkg/controller/readiness"
	"github.com/openpacific/pacific/pkg/controller/virtualmachineservice"
	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
)

// Options are what an administrator may set.
type Options struct {
	// Generic is what every aggregated API server has: serving, delegated
	// authentication and authorisation, audit, admission.
	Generic *genericoptions.RecommendedOptions
	Logs    *logs.Options
	VCenter VCenterOptions
	Records RecordsOptions
	Login   LoginOptions
	// LoadBalancerAddresses are those that services of type LoadBalancer may be given. Empty: none.
	LoadBalancerAddresses []string
	// ProbedNetworks are those to whose addresses readiness probes connect. Empty: all.
	ProbedNetworks []string
	// GuestNetwork is the loopback network on which the guests of a simulated vCenter answer. Empty: guests are where they
	// say.
	GuestNetwork string
	// Inventory makes the source of the inventory when it is not to be vCenter,
	// as in a benchmark of more machines than a simulator can hold.
	Inventory func(inventory.Handler) Inventory
}

// Inventory follows an inventory; inventory.Collector does.
type Inventory interface {
	// Run hands updates to a handler until ctx ends.
	Run(ctx context.Context) error
	Status() inventory.Status
	// Refresh has the handler see the present state of one object before it
	// returns.
	Refresh(ctx context.Context, ref types.ManagedObjectReference) error
}

// VCenterOptions say which vCenter to serve.
type VCenterOptions struct {
	URL                   string
	CredentialsFile       string
	CAFile                string
	Thumbprint            string
	InsecureSkipTLSVerify bool
	NamespacesFolder      string
	NamespacesFolderID    string
	// ZoneClusters are the names of the clusters that are zones. Empty: all.
	ZoneClusters []string
	// ClusterLibraries are the names or ids of the content libraries that count as given to all vSphere Namespaces.
	ClusterLibraries []string
}

// RecordsOptions say which etcd holds the records that vCenter cannot.
type RecordsOptions struct {
	// Servers are an external etcd's endpoints. Empty: an etcd inside this
	// process, with its files in DataDir.
	Servers                   []string
	CAFile, CertFile, KeyFile string
	Prefix                    string
	DataDir                   string
	// Installation is the id of this installation where etcd holds none yet. Empty: a
	// new one.
	Installation string
	// Key is the name of the key by which records in vCenter are proven; one that is not in etcd is made.
	Key string
	// LeaderElect is for an external etcd that several replicas share. An etcd
	// inside the process lets no other process in.
	LeaderElect bool
}

// NewOptions returns the defaults.
func NewOptions() *Options {
	options := &Options{
		Generic: genericoptions.NewRecommendedOptions("", nil),
		Logs:    logs.NewOptions(),
		VCenter: VCenterOptions{NamespacesFolder: "Namespaces"},
		Records: RecordsOptions{Prefix: "/pacific", Key: "1", LeaderElect: true},
		Login:   LoginOptions{BindAddress: "0.0.0.0"},
	}
	options.Generic.Etcd = nil // vCenter is the storage
	options.Generic.SecureServing.BindPort = 8443
	return options
}

// AddFlags adds a flag for each option.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	o.Generic.AddFlags(flags)
	logsapi.AddFlags(o.Logs, flags)

	o.Login.addFlags(flags)

	flags.StringVar(&o.VCenter.URL, "vcenter", o.VCenter.URL, "URL of vCenter, such as https://vcenter.example.com")
	flags.StringVar(&o.VCenter.CredentialsFile, "vcenter-credentials", o.VCenter.CredentialsFile,
		"YAML file with the keys username and password; read again when it changes")
	flags.StringVar(&o.VCenter.CAFile, "vcenter-ca", o.VCenter.CAFile,
		"PEM file with the authorities that may have signed vCenter's certificate; the system's if not set")
	flags.StringVar(&o.VCenter.Thumbprint, "vcenter-thumbprint", o.VCenter.Thumbprint,
		"SHA-256 of vCenter's certificate in hexadecimal: that certificate is trusted and no other")
	flags.BoolVar(&o.VCenter.InsecureSkipTLSVerify, "vcenter-insecure-skip-tls-verify", o.VCenter.InsecureSkipTLSVerify,
		"accept any certificate of vCenter; whoever can intercept the connection then learns the password")
	flags.StringVar(&o.VCenter.NamespacesFolder, "namespaces-folder", o.VCenter.NamespacesFolder,
		"the VM folder whose child folders are the namespaces: a name in the only datacenter's VM folder, or an inventory "+
			"path such as /DC0/vm/Namespaces")
	flags.StringVar(&o.VCenter.NamespacesFolderID, "namespaces-folder-id", o.VCenter.NamespacesFolderID,
		"the managed-object id, such as group-v42, of the namespaces folder. Give it to serve a folder that got the name "+
			"of the one that was served so far, which is refused without it as long as that one is there")
	flags.StringSliceVar(&o.VCenter.ZoneClusters, "zone-clusters", o.VCenter.ZoneClusters,
		"names of the clusters that are zones, in which vSphere Namespaces get resource pools; all that the account sees "+
			"if not set. Management clusters are better left out")
	flags.StringArrayVar(&o.VCenter.ClusterLibraries, "cluster-content-library", o.VCenter.ClusterLibraries,
		"name or id of a content library whose images everybody may use, in all vSphere Namespaces: they show as "+
			"ClusterVirtualMachineImages. Give it once for each; none if not set")

	flags.StringSliceVar(&o.LoadBalancerAddresses, "load-balancer-addresses", o.LoadBalancerAddresses,
		"addresses for VirtualMachineServices of type LoadBalancer: networks such as 192.0.2.0/28, spans such as "+
			"192.0.2.10-192.0.2.20, or single ones. Nobody else may use them. If not set, such services have an address if "+
			"the cluster has a load balancer of its own")

	flags.StringVar(&o.GuestNetwork, "guest-network", o.GuestNetwork,
		"for a simulated vCenter: the loopback network, such as 127.66.0.0/16, on which guests answer that report an address of "+
			"10.66.0.0/16")

	flags.StringSliceVar(&o.ProbedNetworks, "probed-networks", o.ProbedNetworks,
		"networks, such as 10.20.0.0/16, to whose addresses readiness probes of virtual machines connect. What a guest tells "+
			"as its addresses is its own word: if not set, a probe tells who has the guest what listens on whatever the "+
			"server reaches, but for itself, link-local addresses and those of clouds' metadata")
	flags.StringSliceVar(&o.Records.Servers, "etcd-servers", o.Records.Servers,
		"endpoints of an etcd for terms, leadership and detached folders; several replicas need one. Without it, an etcd "+
			"inside this process keeps its files in --data-dir")
	flags.StringVar(&o.Records.CAFile, "etcd-cafile", o.Records.CAFile,
		"PEM file with the authorities that signed etcd's certificates")
	flags.StringVar(&o.Records.CertFile, "etcd-certfile", o.Records.CertFile,
		"PEM file with the client certificate for etcd")
	flags.StringVar(&o.Records.KeyFile, "etcd-keyfile", o.Records.KeyFile,
		"PEM file with the key of the client certificate for etcd")
	flags.StringVar(&o.Records.Prefix, "etcd-prefix", o.Records.Prefix, "key under which everything lies in etcd")
	flags.StringVar(&o.Records.Installation, "installation-id", o.Records.Installation,
		"the UUID by which this installation knows its own records in vCenter, for an etcd that holds none yet: give it "+
			"after etcd was lost, or machines that Pacific made count as another installation's. A new one is made, if not set")
	flags.StringVar(&o.Records.Key, "record-key", o.Records.Key,
		"name of the key in etcd by which records in vCenter are proven to be this installation's. One that is not there is "+
			"made: give another name to have what is written from then on proven by a new key. What was proven by those "+
			"before counts as long as they are in etcd")
	flags.BoolVar(&o.Records.LeaderElect, "leader-elect", o.Records.LeaderElect,
		"with --etcd-servers: serve and write only while this replica leads. Set it to false where there is only one "+
			"replica: its restart then need not wait for the lease of the one before")
	flags.StringVar(&o.Records.DataDir, "data-dir", o.Records.DataDir,
		"folder of the etcd inside this process; it must outlive the process")
}

// Validate returns every mistake at once, each with its flag and remedy.
func (o *Options) Validate() error {
	mistakes := o.Generic.Validate()
	mistakes = append(mistakes, o.VCenter.validate()...)
	mistakes = append(mistakes, o.Records.validate()...)
	mistakes = append(mistakes, o.Login.validate()...)
	if _, err := virtualmachineservice.ParsePool(o.LoadBalancerAddresses); err != nil {
		mistakes = append(mistakes, fmt.Errorf("--load-balancer-addresses: %w", err))
	}
	if _, err := guestaddress.Parse(o.GuestNetwork); err != nil {
		mistakes = append(mistakes, fmt.Errorf("--guest-network: %w", err))
	}
	if _, err := readiness.ParseRanges(o.ProbedNetworks); err != nil {
		mistakes = append(mistakes, fmt.Errorf("--probed-networks: %w", err))
	}
	if err := logsapi.ValidateAndApply(o.Logs, o.Generic.FeatureGate); err != nil {
		mistakes = append(mistakes, err)
	}
	return utilerrors.NewAggregate(mistakes)
}

func (o VCenterOptions) validate() []error {
	var mistakes []error
	if o.URL == "" {
		mistakes = append(mistakes, fmt.Errorf("--vcenter is not set: give the URL of vCenter, such as "+
			"https://vcenter.example.com"))
	} else if _, err := o.url(); err != nil {
		mistakes = append(mistakes, err)
	}
	if o.CredentialsFile == "" {
		mistakes = append(mistakes, fmt.Errorf("--vcenter-credentials is not set: give a YAML file with the keys username "+
			"and password"))
	}
	mistakes = append(mistakes, readable("--vcenter-credentials", o.CredentialsFile)...)
	mistakes = append(mistakes, readable("--vcenter-ca", o.CAFile)...)
	if o.InsecureSkipTLSVerify && (o.CAFile != "" || o.Thumbprint != "") {
		mistakes = append(mistakes, fmt.Errorf("--vcenter-insecure-skip-tls-verify contradicts --vcenter-ca and "+
			"--vcenter-thumbprint: drop one"))
	}
	if o.NamespacesFolder == "" {
		mistakes = append(mistakes, fmt.Errorf("--namespaces-folder is empty: give the VM folder whose child folders are "+
			"the namespaces"))
	}
	return mistakes
}

func (o VCenterOptions) url() (*url.URL, error) {
	parsed, err := url.Parse(o.URL)
	switch {
	case err != nil || parsed.Host == "":
		return nil, fmt.Errorf("--vcenter is not a URL: give one such as https://vcenter.example.com")
	case parsed.User != nil:
		return nil, fmt.Errorf("--vcenter must not hold a user or password, which any user of this machine could read: put " +
			"them into the file of --vcenter-credentials")
	case parsed.Scheme != "https":
		return nil, fmt.Errorf("--vcenter %q: the scheme must be https", o.URL)
	}
	return parsed, nil
}

func (o RecordsOptions) validate() []error {
	var mistakes []error
	if len(o.Servers) == 0 && o.DataDir == "" {
		mistakes = append(mistakes, fmt.Errorf("neither --etcd-servers nor --data-dir is set: give the endpoints of an "+
			"etcd, or a folder on a volume for an etcd inside this process"))
	}
	if len(o.Servers) > 0 && o.DataDir != "" {
		mistakes = append(mistakes, fmt.Errorf("--etcd-servers and --data-dir exclude each other: drop one"))
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		mistakes = append(mistakes, fmt.Errorf("--etcd-certfile and --etcd-keyfile go together: set both or none"))
	}
	if o.Installation != "" {
		if err := ledger.ValidateInstallation(o.Installation); err != nil {
			mistakes = append(mistakes, fmt.Errorf("--installation-id: %w", err))
		}
	}
	if err := ledger.ValidateRecordKeyName(o.Key); err != nil {
		mistakes = append(mistakes, fmt.Errorf("--record-key: %w", err))
	}
	mistakes = append(mistakes, readable("--etcd-cafile", o.CAFile)...)
	mistakes = append(mistakes, readable("--etcd-certfile", o.CertFile)...)
	mistakes = append(mistakes, readable("--etcd-keyfile", o.KeyFile)...)
	return mistakes
}

// readable says whether a file that a flag names can be read. An unset flag is
// fine.
func readable(flag, file string) []error {
	if file == "" {
		return nil
	}
	opened, err := os.Open(file)
	if err != nil {
		return []error{fmt.Errorf("%s: %w", flag, err)}
	}
	_ = opened.Close()
	return nil
}
