// SPDX-License-Identifier: Apache-2.0

package up

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openpacific/pacific/cmd/supervisor/component"
	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/etcdusers"
	"github.com/openpacific/pacific/cmd/supervisor/ports"
	"github.com/openpacific/pacific/cmd/supervisor/process"
	"github.com/openpacific/pacific/cmd/supervisor/vcenter"
	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/login"
)

// plan says which children there are and with what arguments.
type plan struct {
	options      Options
	dir          datadir.Dir
	ports        datadir.Ports
	certificates *certificates
	vcenter      datadir.VCenter
	guests       guestaddress.Network
	executable   string
}

// What keys in etcd begin with, and a slash after that: kube-apiserver's, and vsphere-apiserver's.
const (
	registryPrefix = "/registry"
	recordsPrefix  = "/pacific"
)

// etcdUsers are the clients of etcd, by the names in their certificates.
func etcdUsers() []etcdusers.User {
	return []etcdusers.User{
		{Name: component.KubeAPIServer, Prefix: registryPrefix + "/"},
		{Name: component.VSphereAPIServer, Prefix: recordsPrefix + "/"},
	}
}

// portNames are the components that get a loopback port.
func portNames(sim bool) []string {
	names := []string{component.Etcd, component.KubeControllerManager, component.VSphereAPIServer, discoveryPort}
	if sim {
		names = append(names, component.VCenter)
	}
	return names
}

// controllers are those of kube-controller-manager that run: see the package's documentation.
func controllers() string {
	const names = "namespace-controller,garbage-collector-controller,resourcequota-controller," +
		"serviceaccount-controller,serviceaccount-token-controller,legacy-serviceaccount-token-cleaner-controller," +
		"clusterrole-aggregation-controller,root-ca-certificate-publisher-controller,ttl-after-finished-controller," +
		"validatingadmissionpolicy-status-controller," +
		"certificatesigningrequest-signing-controller,certificatesigningrequest-cleaner-controller"
	return names
}

// server is the URL of the API, as seen from this machine.
func (p *plan) server() string { return serverURL(p.options) }

func serverURL(o Options) string {
	host := o.BindAddress
	if net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(o.SecurePort))
}

// loginPort is the name under which the port of the login service is kept.
const loginPort = "login"

// issuer is the iss of the tokens, and where kube-apiserver reads their keys.
func (p *plan) issuer() string {
	return "https://localhost:" + strconv.Itoa(p.ports[loginPort]) + "/openidconnect/vsphere.local"
}

// writeAuthentication writes the file by which kube-apiserver trusts the tokens of the login service.
func (p *plan) writeAuthentication() error {
	file := login.AuthenticationConfiguration(p.issuer(), p.local(discoveryPort)+discoveryPath,
		p.certificates.clusterCA.CertPEM)
	if err := datadir.WriteFile(p.dir.Authentication(), file, 0o600); err != nil {
		return fmt.Errorf("write the authentication configuration: %w", err)
	}
	return nil
}

func (p *plan) local(name string) string { return "https://" + ports.Loopback(p.ports[name]) }

func (p *plan) etcd() (process.Command, error) {
	c := p.certificates
	probe, err := newProber(p.local(component.Etcd), c.etcdCA, &c.etcdRoot)
	if err != nil {
		return process.Command{}, err
	}
	return p.command(component.Etcd, 5*time.Second, probe.etcd,
		"--data-dir="+p.dir.Etcd(),
		"--listen-client-url="+p.local(component.Etcd),
		"--cert-file="+c.etcd.CertFile,
		"--key-file="+c.etcd.KeyFile,
		"--trusted-ca-file="+c.etcdCA.CertFile,
	), nil
}

func (p *plan) kubeAPIServer() (process.Command, error) {
	c := p.certificates
	probe, err := newProber(p.server(), c.clusterCA, &c.adminClient)
	if err != nil {
		return process.Command{}, err
	}
	advertise := p.options.BindAddress
	if net.ParseIP(advertise).IsUnspecified() {
		advertise = "127.0.0.1"
	}
	return p.command(component.KubeAPIServer, 10*time.Second, probe.readyz,
		"--bind-address="+p.options.BindAddress,
		"--secure-port="+strconv.Itoa(p.options.SecurePort),
		"--advertise-address="+advertise,
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range="+serviceRange,
		"--tls-cert-file="+c.apiServer.CertFile,
		"--tls-private-key-file="+c.apiServer.KeyFile,
		"--tls-min-version=VersionTLS12",
		"--client-ca-file="+c.clusterCA.CertFile,
		"--authentication-config="+p.dir.Authentication(),
		"--authorization-mode=RBAC",
		"--etcd-servers="+p.local(component.Etcd),
		"--etcd-prefix="+registryPrefix,
		"--etcd-compaction-interval=0", // it may not: etcd does it by itself
		"--etcd-cafile="+c.etcdCA.CertFile,
		"--etcd-certfile="+c.apiServerEtcdClient.CertFile,
		"--etcd-keyfile="+c.apiServerEtcdClient.KeyFile,
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+c.serviceAccountPublicKey,
		"--service-account-signing-key-file="+c.serviceAccountKey,
		"--requestheader-client-ca-file="+c.frontProxyCA.CertFile,
		"--requestheader-allowed-names="+frontProxyName,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-uid-headers=X-Remote-Uid",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file="+c.frontProxyClient.CertFile,
		"--proxy-client-key-file="+c.frontProxyClient.KeyFile,
		"--shutdown-watch-termination-grace-period=2s", // else open watches hold up the end
		"--profiling="+strconv.FormatBool(p.options.Profile),
	), nil
}

func (p *plan) kubeControllerManager() (process.Command, error) {
	c := p.certificates
	probe, err := newProber(p.local(component.KubeControllerManager), c.clusterCA, nil)
	if err != nil {
		return process.Command{}, err
	}
	healthz := func(ctx context.Context) error { return probe.ok(ctx, "/healthz") }
	kubeconfig := p.dir.Kubeconfig(component.KubeControllerManager)
	return p.command(component.KubeControllerManager, 5*time.Second, healthz,
		"--kubeconfig="+kubeconfig,
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1",
		"--secure-port="+strconv.Itoa(p.ports[component.KubeControllerManager]),
		"--tls-cert-file="+c.controllerManager.CertFile,
		"--tls-private-key-file="+c.controllerManager.KeyFile,
		"--tls-min-version=VersionTLS12",
		"--root-ca-file="+c.clusterCA.CertFile,
		"--service-account-private-key-file="+c.serviceAccountKey,
		"--cluster-signing-cert-file="+c.clusterCA.CertFile,
		"--cluster-signing-key-file="+c.clusterCA.KeyFile,
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		// The default of 20 requests a second makes the quotas of 500 namespaces wait for half a minute.
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--controllers="+controllers(),
		"--concurrent-gc-syncs=4",
		"--concurrent-namespace-syncs=4",
		"--concurrent-resource-quota-syncs=2",
		"--profiling=false",
	), nil
}

func (p *plan) vsphereAPIServer() (process.Command, error) {
	c := p.certificates
	probe, err := newProber(p.local(component.VSphereAPIServer), c.clusterCA, &c.adminClient)
	if err != nil {
		return process.Command{}, err
	}
	kubeconfig := p.dir.Kubeconfig(component.VSphereAPIServer)
	args := []string{
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(p.ports[component.VSphereAPIServer]),
		"--tls-cert-file=" + c.vsphereAPIServer.CertFile,
		"--tls-private-key-file=" + c.vsphereAPIServer.KeyFile,
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--etcd-servers=" + p.local(component.Etcd),
		"--etcd-prefix=" + recordsPrefix,
		"--etcd-cafile=" + c.etcdCA.CertFile,
		"--etcd-certfile=" + c.vsphereAPIServerEtcdClient.CertFile,
		"--etcd-keyfile=" + c.vsphereAPIServerEtcdClient.KeyFile,
		"--login-bind-address=" + p.options.BindAddress,
		"--login-port=" + strconv.Itoa(p.ports[loginPort]),
		"--login-issuer=" + p.issuer(),
		"--login-kube-api-port=" + strconv.Itoa(p.options.SecurePort),
		"--login-serve-kube-api",
		"--leader-elect=false", // there is only this one: its successor need not wait for a lease to run out
		// How to tell the aggregator is known here. Without these flags it is read from the cluster, after the server has
		// begun to listen: for a moment it would take everybody for anonymous, and the aggregator, which knows no
		// readiness of a Service without endpoints, would pass a 403 on to users.
		"--client-ca-file=" + c.clusterCA.CertFile,
		"--requestheader-client-ca-file=" + c.frontProxyCA.CertFile,
		"--requestheader-allowed-names=" + frontProxyName,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-uid-headers=X-Remote-Uid",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--vcenter=" + p.vcenter.URL,
		"--vcenter-credentials=" + p.vcenter.CredentialsFile,
	}
	for _, flag := range []struct{ name, value string }{
		{"--login-default-domain", p.options.LoginDefaultDomain},
		{"--login-domain-aliases", pairs(p.options.LoginDomainAliases)},
		{"--vcenter-ca", p.vcenter.CAFile},
		{"--vcenter-thumbprint", p.vcenter.Thumbprint},
		{"--namespaces-folder", p.options.NamespacesFolder},
		{"--namespaces-folder-id", p.options.NamespacesFolderID},
		{"--zone-clusters", strings.Join(p.options.ZoneClusters, ",")},
		{"--installation-id", p.options.InstallationID},
		{"--record-key", p.options.RecordKey},
	} {
		if flag.value != "" {
			args = append(args, flag.name+"="+flag.value)
		}
	}
	addresses := p.options.LoadBalancerAddresses
	if p.options.Sim && p.guests.String() != "" {
		args = append(args, "--guest-network="+p.guests.String())
		if len(addresses) == 0 {
			addresses = []string{p.guests.Addresses().String()}
		}
	}
	if len(addresses) > 0 {
		args = append(args, "--load-balancer-addresses="+strings.Join(addresses, ","))
	}
	for _, library := range p.options.ClusterLibraries {
		args = append(args, "--cluster-content-library="+library)
	}
	if p.options.SyntheticMachines > 0 {
		args = append(args, "--synthetic-machines="+strconv.Itoa(p.options.SyntheticMachines),
			"--synthetic-control="+p.dir.SyntheticControl())
	}
	args = append(args, "--profiling="+strconv.FormatBool(p.options.Profile))
	return p.command(component.VSphereAPIServer, 5*time.Second, probe.readyz, args...), nil
}

func (p *plan) simulatedVCenter() (process.Command, error) {
	c := p.certificates
	probe, err := newProber(p.local(component.VCenter), c.vcenterCA, nil)
	if err != nil {
		return process.Command{}, err
	}
	return p.command(component.VCenter, 3*time.Second, probe.about,
		"--listen="+ports.Loopback(p.ports[component.VCenter]),
		"--tls-cert-file="+c.vcenter.CertFile,
		"--tls-private-key-file="+c.vcenter.KeyFile,
		"--credentials="+p.vcenter.CredentialsFile,
		"--control-socket="+vcenter.ControlSocket(string(p.dir)),
		"--memory="+vcenter.Memory(string(p.dir)),
		"--guest-network="+p.guests.String(),
	), nil
}

func (p *plan) command(name string, grace time.Duration, probe func(context.Context) error,
	args ...string) process.Command {
	return process.Command{
		Name:    name,
		Path:    p.executable,
		Args:    append([]string{"component", name}, args...),
		Env:     component.Environment(refreshEvery(p.options.CertificateLife)),
		LogFile: p.dir.Log(name),
		Probe:   probe,
		Grace:   grace,
	}
}

// pairs writes a map as a flag takes it.
func pairs(values map[string]string) string {
	written := make([]string, 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		written = append(written, key+"="+values[key])
	}
	return strings.Join(written, ",")
}
