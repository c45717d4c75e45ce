// SPDX-License-Identifier: Apache-2.0

package up

import (
	"fmt"
	"net"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/openpacific/pacific/cmd/supervisor/component"
	"github.com/openpacific/pacific/cmd/supervisor/datadir"
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

// certificates are all certificates and keys of a Supervisor. There are four authorities: what one signs is worth
// nothing to those who trust another.
type certificates struct {
	clusterCA, frontProxyCA, etcdCA, vcenterCA *pki.Authority

	apiServer, controllerManager, vsphereAPIServer, etcd, vcenter pki.Pair // serving

	frontProxyClient                                             pki.Pair
	adminClient, controllerManagerClient, vsphereAPIServerClient pki.Pair
	apiServerEtcdClient, vsphereAPIServerEtcdClient, probeClient pki.Pair
	serviceAccountKey, serviceAccountPublicKey                   string
}

// issue reads the certificates or makes them.
func issue(store pki.Store, bindAddress string) (*certificates, error) {
	var c certificates
	for _, authority := range []struct {
		into             **pki.Authority
		name, commonName string
	}{
		{&c.clusterCA, "ca", "pacific-cluster-ca"},
		{&c.frontProxyCA, "front-proxy-ca", "pacific-front-proxy-ca"},
		{&c.etcdCA, "etcd-ca", "pacific-etcd-ca"},
		{&c.vcenterCA, "vcenter-ca", "pacific-simulated-vcenter-ca"},
	} {
		var err error
		if *authority.into, err = store.Authority(authority.name, authority.commonName); err != nil {
			return nil, err
		}
	}
	loopback := []string{"localhost", "127.0.0.1", "::1"}
	hosts, err := apiServerHosts(bindAddress)
	if err != nil {
		return nil, err
	}
	service := component.VSphereAPIServer + "." + systemNamespace
	for _, certificate := range []struct {
		into      *pki.Pair
		authority *pki.Authority
		name      string
		request   pki.Request
	}{
		{&c.apiServer, c.clusterCA, "kube-apiserver", pki.Request{CommonName: "kube-apiserver", Hosts: hosts}},
		{&c.controllerManager, c.clusterCA, "kube-controller-manager", pki.Request{CommonName: "kube-controller-manager", Hosts: loopback}},
		{&c.vsphereAPIServer, c.clusterCA, "vsphere-apiserver", pki.Request{
			CommonName: service + ".svc", Hosts: append([]string{service + ".svc", service + ".svc.cluster.local"}, hosts...)}},
		{&c.etcd, c.etcdCA, "etcd", pki.Request{CommonName: "etcd", Hosts: loopback}},
		{&c.vcenter, c.vcenterCA, "vcenter", pki.Request{CommonName: "simulated vCenter", Hosts: loopback}},
		{&c.frontProxyClient, c.frontProxyCA, "front-proxy-client", pki.Request{CommonName: frontProxyName, Client: true}},
		{&c.adminClient, c.clusterCA, "admin-client", pki.Request{CommonName: "kubernetes-admin", Organization: []string{"system:masters"}, Client: true}},
		{&c.controllerManagerClient, c.clusterCA, "kube-controller-manager-client", pki.Request{CommonName: "system:kube-controller-manager", Client: true}},
		{&c.vsphereAPIServerClient, c.clusterCA, "vsphere-apiserver-client", pki.Request{
			CommonName:   "system:serviceaccount:" + systemNamespace + ":" + component.VSphereAPIServer,
			Organization: []string{"system:serviceaccounts", "system:serviceaccounts:" + systemNamespace}, Client: true}},
		{&c.apiServerEtcdClient, c.etcdCA, "kube-apiserver-etcd-client", pki.Request{CommonName: "kube-apiserver", Client: true}},
		{&c.vsphereAPIServerEtcdClient, c.etcdCA, "vsphere-apiserver-etcd-client", pki.Request{CommonName: "vsphere-apiserver", Client: true}},
		{&c.probeClient, c.etcdCA, "supervisor-etcd-client", pki.Request{CommonName: "supervisor", Client: true}},
	} {
		if *certificate.into, err = store.Certificate(certificate.authority, certificate.name, certificate.request); err != nil {
			return nil, err
		}
	}
	if c.serviceAccountKey, c.serviceAccountPublicKey, err = store.Key("service-account"); err != nil {
		return nil, err
	}
	return &c, nil
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

// writeKubeconfig writes a kubeconfig that holds everything in itself, so that it can be copied away.
func writeKubeconfig(path, server string, ca *pki.Authority, user string, client pki.Pair) error {
	const cluster = "supervisor"
	config := clientcmdapi.NewConfig()
	config.Clusters[cluster] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca.CertPEM}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: client.CertPEM, ClientKeyData: client.KeyPEM}
	config.Contexts[cluster] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: user}
	config.CurrentContext = cluster
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("kubeconfig of %s: %w", user, err)
	}
	if err := datadir.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("kubeconfig of %s: %w", user, err)
	}
	return nil
}
