// SPDX-License-Identifier: Apache-2.0

package up

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/openpacific/pacific/cmd/supervisor/component"
	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/etcdusers"
	"github.com/openpacific/pacific/cmd/supervisor/pki"
)

const (
	systemNamespace = "pacific-system"
	// serviceIP is the first address of serviceRange: the one of the Service default/kubernetes.
	serviceIP    = "10.96.0.1"
	serviceRange = "10.96.0.0/16"
	// frontProxyName is how the aggregator calls itself to vsphere-apiserver.
	frontProxyName = "front-proxy-client"
)

// authorities sign all certificates of a Supervisor. There are four: what one signs is worth nothing to those who trust
// another. A key signs the tokens of ServiceAccounts.
type authorities struct {
	clusterCA, frontProxyCA, etcdCA, vcenterCA *pki.Authority
	serviceAccountKey, serviceAccountPublicKey string // files
}

// openAuthorities reads the authorities or makes them, and records which they are. One that was there before and is not
// any more stops everything: whoever trusts it would find out by errors that name nobody.
func openAuthorities(store pki.Store, dir datadir.Dir, replace bool) (a authorities, replaced []string, err error) {
	known, err := dir.ReadAuthorities()
	if err != nil {
		return authorities{}, nil, err
	}
	lasting := len(known) == 0 && exists(dir.Etcd())
	now := datadir.Authorities{}
	for _, authority := range []struct {
		into             **pki.Authority
		name, commonName string
	}{
		{&a.clusterCA, "ca", "pacific-cluster-ca"},
		{&a.frontProxyCA, "front-proxy-ca", "pacific-front-proxy-ca"},
		{&a.etcdCA, "etcd-ca", "pacific-etcd-ca"},
		{&a.vcenterCA, "vcenter-ca", "pacific-simulated-vcenter-ca"},
	} {
		before := known[authority.name]
		*authority.into, err = store.Authority(authority.name, authority.commonName,
			pki.Known{Fingerprint: before, Lasting: lasting, Replace: replace})
		var lost *pki.LostError
		if errors.As(err, &lost) {
			return authorities{}, nil, fmt.Errorf(
				"certificate authority %w. Put it back from a backup, or start once with --new-authority to go on with another: "+
					"kubeconfigs and trusted fingerprints that people hold are worthless then, and everybody has to log in again", err)
		} else if err != nil {
			return authorities{}, nil, err
		}
		now[authority.name] = (*authority.into).Fingerprint()
		if before != "" && before != now[authority.name] {
			replaced = append(replaced, authority.name)
		}
	}
	a.serviceAccountKey, a.serviceAccountPublicKey, err = store.Key("service-account",
		pki.Known{Lasting: exists(dir.Etcd()), Replace: replace})
	var lost *pki.LostError
	if errors.As(err, &lost) {
		return authorities{}, nil, fmt.Errorf("signing key %w. Put it back from a backup, or start once with "+
			"--new-authority to go on "+
			"with another: the tokens of all ServiceAccounts are worthless then", err)
	} else if err != nil {
		return authorities{}, nil, err
	}
	return a, replaced, dir.WriteAuthorities(now)
}

// ending are sentences about the authorities that end before a certificate made today would.
func (a authorities) ending(now time.Time) []string {
	var sentences []string
	for _, authority := range []*pki.Authority{a.clusterCA, a.frontProxyCA, a.etcdCA, a.vcenterCA} {
		if end := authority.Certificate.NotAfter; now.Add(pki.DefaultLife).After(end) {
			sentences = append(sentences, fmt.Sprintf("the certificate authority in %s ends on %s, and everything with it: "+
				"before that, "+
				"remove it and start once with --new-authority", authority.CertFile, end.UTC().Format(time.DateOnly)))
		}
	}
	return sentences
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// certificates are all certificates and keys of a Supervisor.
type certificates struct {
	authorities

	apiServer, controllerManager, vsphereAPIServer, etcd, vcenter pki.Pair // serving

	frontProxyClient                                             pki.Pair
	adminClient, controllerManagerClient, vsphereAPIServerClient pki.Pair
	apiServerEtcdClient, vsphereAPIServerEtcdClient, etcdRoot    pki.Pair
}

// issue reads the certificates, or makes those that are missing or due. hosts are the names and addresses of the API.
// made are the names of those that it made.
func issue(store pki.Store, a authorities, hosts []string) (c *certificates, made []string, err error) {
	c = &certificates{authorities: a}
	loopback := []string{"localhost", "127.0.0.1", "::1"}
	service := component.VSphereAPIServer + "." + systemNamespace
	for _, certificate := range []struct {
		into      *pki.Pair
		authority *pki.Authority
		name      string
		request   pki.Request
	}{
		{&c.apiServer, c.clusterCA, "kube-apiserver", pki.Request{CommonName: "kube-apiserver", Hosts: hosts}},
		{&c.controllerManager, c.clusterCA, "kube-controller-manager",
			pki.Request{CommonName: "kube-controller-manager", Hosts: loopback}},
		{&c.vsphereAPIServer, c.clusterCA, "vsphere-apiserver", pki.Request{
			CommonName: service + ".svc", Hosts: append([]string{service + ".svc", service + ".svc.cluster.local"}, hosts...)}},
		{&c.etcd, c.etcdCA, "etcd", pki.Request{CommonName: "etcd", Hosts: loopback}},
		{&c.vcenter, c.vcenterCA, "vcenter", pki.Request{CommonName: "simulated vCenter", Hosts: loopback}},
		{&c.frontProxyClient, c.frontProxyCA, "front-proxy-client", pki.Request{CommonName: frontProxyName, Client: true}},
		{&c.adminClient, c.clusterCA, "admin-client", pki.Request{
			CommonName: "kubernetes-admin", Organization: []string{"system:masters"}, Client: true}},
		{&c.controllerManagerClient, c.clusterCA, "kube-controller-manager-client", pki.Request{
			CommonName: "system:kube-controller-manager", Client: true}},
		{&c.vsphereAPIServerClient, c.clusterCA, "vsphere-apiserver-client", pki.Request{
			CommonName:   "system:serviceaccount:" + systemNamespace + ":" + component.VSphereAPIServer,
			Organization: []string{"system:serviceaccounts", "system:serviceaccounts:" + systemNamespace}, Client: true}},
		{&c.apiServerEtcdClient, c.etcdCA, "kube-apiserver-etcd-client",
			pki.Request{CommonName: component.KubeAPIServer, Client: true}},
		{&c.vsphereAPIServerEtcdClient, c.etcdCA, "vsphere-apiserver-etcd-client",
			pki.Request{CommonName: component.VSphereAPIServer, Client: true}},
		{&c.etcdRoot, c.etcdCA, "supervisor-etcd-client", pki.Request{CommonName: etcdusers.Root, Client: true}},
	} {
		var fresh bool
		if *certificate.into, fresh, err = store.Certificate(certificate.authority, certificate.name,
			certificate.request); err != nil {
			return nil, made, err
		}
		if fresh {
			made = append(made, certificate.name)
		}
	}
	return c, made, nil
}

// apiServerHosts are the names and addresses under which people may reach the API.
func apiServerHosts(bindAddress string) ([]string, error) {
	hosts := []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		"127.0.0.1", "::1", serviceIP,
	}
	ip := net.ParseIP(bindAddress)
	if ip.IsLoopback() {
		if bindAddress != "127.0.0.1" && bindAddress != "::1" {
			hosts = append(hosts, bindAddress)
		}
		return hosts, nil
	}
	if name, err := os.Hostname(); err == nil && name != "localhost" {
		hosts = append(hosts, name)
	}
	if !ip.IsUnspecified() {
		return append(hosts, bindAddress), nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			hosts = append(hosts, network.IP.String())
		}
	}
	return hosts, nil
}
