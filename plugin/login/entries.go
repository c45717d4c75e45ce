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

// account is what a token is for: the API server that is named after an address,
// and the login service that has given the token.
type account struct {
	address, login wcp.Address
	guest          *wcp.Guest
	session        *wcp.Session
}

// accounts returns what the servers have given tokens for.
func (r *result) accounts(asked *wcp.Guest) []account {
	var all []account
	for _, h := range append([]*host{r.server}, r.others...) {
		all = append(all, account{address: h.address, login: h.address, session: h.session})
	}
	if r.guest != nil {
		all = append(all, account{address: r.guest.session.Server, login: r.server.address, guest: asked, session: r.guest.session})
	}
	return all
}

// plan is what a login changes in a kubeconfig.
type plan struct {
	changes *kubeconfig.Changes
	names   []string          // of the contexts, in the order in which they are listed
	renamed map[string]string // wanted name → why it is another, for the user

	existing *kubeconfig.Config
	username string
}

// makePlan turns what the servers have given into kubeconfig entries; users are
// those of the accounts, by address. Entries of other people's making stay.
func makePlan(existing *kubeconfig.Config, outcome *result, asked *wcp.Guest, username string,
	users map[wcp.Address]kubeconfig.User) *plan {
	p := &plan{existing: existing, username: username, renamed: map[string]string{}, changes: &kubeconfig.Changes{
		Clusters: map[string]kubeconfig.Cluster{},
		Contexts: map[string]kubeconfig.Context{},
		Users:    map[string]kubeconfig.User{},
	}}
	for _, one := range outcome.accounts(asked) {
		p.changes.Users[kubeconfig.UserName(one.address.String(), username)] = users[one.address]
	}
	for _, h := range append([]*host{outcome.server}, outcome.others...) {
		if !h.kept {
			p.changes.Clusters[p.clusterName(h.address)] = h.cluster
		}
	}
	server := outcome.server.address
	first := p.addContext(server.String(), "", server)
	var names []string
	for _, w := range outcome.workloads {
		names = append(names, p.addContext(w.namespace, w.namespace, w.host.address))
	}
	if entered := outcome.guest; entered != nil {
		address := entered.session.Server
		p.changes.Clusters[p.clusterName(address)] = entered.cluster
		names = append(names, p.addContext(asked.Name, "", address))
	}
	slices.Sort(names)
	p.names = append([]string{first}, slices.Compact(names)...)
	p.changes.CurrentContext = &first
	return p
}

// clusterName is the host's. An entry of that name that others made or use stays
// theirs.
func (p *plan) clusterName(address wcp.Address) string {
	name := address.String()
	if _, exists := p.existing.Clusters[name]; exists && !p.existing.OwnCluster(name) {
		return "wcp:" + name
	}
	return name
}

// cluster is the entry of an API server.
func cluster(server string, settings trust.Settings) kubeconfig.Cluster {
	return kubeconfig.Cluster{
		CertificateAuthorityData: base64.StdEncoding.EncodeToString(settings.CA),
		InsecureSkipTLSVerify:    settings.Insecure,
		Server:                   server,
		TLSServerName:            settings.ServerName,
	}
}

// addContext adds a context under the name that VMware's plugin gives it. A name
// that belongs to somebody else, or to another context of this login, gets the
// host behind it.
func (p *plan) addContext(wanted, namespace string, address wcp.Address) string {
	context := kubeconfig.Context{
		Cluster: p.clusterName(address), Namespace: namespace, User: kubeconfig.UserName(address.String(), p.username),
	}
	name := wanted
	for n := 1; !p.free(name, context); n++ {
		name = fmt.Sprintf("%s-%s", wanted, address.Host)
		if n > 1 {
			name = fmt.Sprintf("%s-%s-%d", wanted, address.Host, n)
		}
	}
	if name != wanted {
		p.renamed[wanted] = fmt.Sprintf("there is another context %s: the new one is %s", wanted, name)
	}
	p.changes.Contexts[name] = context
	return name
}

func (p *plan) free(name string, context kubeconfig.Context) bool {
	if taken, exists := p.changes.Contexts[name]; exists {
		return taken == context
	}
	if _, exists := p.existing.Contexts[name]; !exists {
		return true
	}
	_, _, ours := p.existing.Server(name)
	return ours
}
