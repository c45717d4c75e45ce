// SPDX-License-Identifier: Apache-2.0

package login

import (
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp"
)

// apiPort is where a Supervisor's API server listens.
const apiPort = "6443"

// entries turns what the servers have given into kubeconfig entries.
type entries struct {
	username string
	guest    *wcp.Guest
	user     func(server wcp.Address, guest *wcp.Guest, session *wcp.Session) kubeconfig.User

	existing *kubeconfig.Config
	changes  *kubeconfig.Changes
	renamed  map[string]string // wanted name → name
}

// plan returns the changes to the kubeconfig, and the names of the contexts in
// the order in which they are listed.
func (e *entries) plan(existing *kubeconfig.Config, outcome *result) (*kubeconfig.Changes, []string) {
	e.existing, e.renamed = existing, map[string]string{}
	e.changes = &kubeconfig.Changes{
		Clusters: map[string]kubeconfig.Cluster{},
		Contexts: map[string]kubeconfig.Context{},
		Users:    map[string]kubeconfig.User{},
	}
	server := outcome.server
	e.addHost(server)
	for _, other := range outcome.others {
		e.addHost(other)
	}
	first := e.addContext(server.address.String(), "", server.address)
	var names []string
	for _, w := range outcome.workloads {
		names = append(names, e.addContext(w.namespace, w.namespace, w.host.address))
	}
	if outcome.guest != nil {
		names = append(names, e.addGuest(server, outcome.guest))
	}
	slices.Sort(names)
	names = append([]string{first}, slices.Compact(names)...)
	e.changes.CurrentContext = &first
	return e.changes, names
}

func (e *entries) addHost(h *host) {
	e.changes.Clusters[e.clusterName(h.address)] = cluster(wcp.HTTPS(h.address.Host, h.port()), h.trust)
	e.changes.Users[kubeconfig.UserName(h.address.String(), e.username)] = e.user(h.address, nil, h.session)
}

// clusterName is the host's. An entry of that name that others made or use stays
// theirs.
func (e *entries) clusterName(address wcp.Address) string {
	name := address.String()
	if _, exists := e.existing.Clusters[name]; exists && !e.existing.OwnCluster(name) {
		return "wcp:" + name
	}
	return name
}

// port is the API server's: what the workloads say, else the port that the user
// wrote, where a Supervisor serves both, else the usual one.
func (h *host) port() string {
	switch {
	case h.apiPort != "":
		return h.apiPort
	case h.address.Port != "":
		return h.address.Port
	}
	return apiPort
}

func cluster(server string, settings trust.Settings) kubeconfig.Cluster {
	return kubeconfig.Cluster{
		CertificateAuthorityData: base64.StdEncoding.EncodeToString(settings.CA),
		InsecureSkipTLSVerify:    settings.Insecure,
		Server:                   server,
		TLSServerName:            settings.ServerName,
	}
}

func (e *entries) addGuest(server *host, session *wcp.Session) string {
	address := session.Server
	settings := trust.Settings{CA: session.CA}
	if len(session.CA) == 0 {
		settings.Insecure = server.trust.Insecure
	}
	port := address.Port
	if port == "" {
		port = apiPort
	}
	e.changes.Clusters[e.clusterName(address)] = cluster(wcp.HTTPS(address.Host, port), settings)
	e.changes.Users[kubeconfig.UserName(address.String(), e.username)] = e.user(server.address, e.guest, session)
	return e.addContext(e.guest.Name, "", address)
}

// addContext adds a context under the name that VMware's plugin gives it. A name
// that belongs to somebody else, or to another context of this login, gets the
// host behind it.
func (e *entries) addContext(wanted, namespace string, address wcp.Address) string {
	context := kubeconfig.Context{Cluster: e.clusterName(address), Namespace: namespace, User: kubeconfig.UserName(address.String(), e.username)}
	name := wanted
	for n := 1; !e.free(name, context); n++ {
		name = fmt.Sprintf("%s-%s", wanted, address.Host)
		if n > 1 {
			name = fmt.Sprintf("%s-%s-%d", wanted, address.Host, n)
		}
		e.renamed[wanted] = name
	}
	e.changes.Contexts[name] = context
	return name
}

func (e *entries) free(name string, context kubeconfig.Context) bool {
	if taken, exists := e.changes.Contexts[name]; exists {
		return taken == context
	}
	if _, exists := e.existing.Contexts[name]; !exists {
		return true
	}
	_, _, ours := e.existing.Server(name)
	return ours
}
