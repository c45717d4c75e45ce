// SPDX-License-Identifier: Apache-2.0

package login

import (
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/shell"
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
		all = append(all, account{address: r.guest.session.Server, login: r.server.address, guest: asked,
			session: r.guest.session})
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
// those of the accounts, by address. Entries of other people's making stay, and so
// do those of a login at another server: it is an error where that is not possible.
func makePlan(existing *kubeconfig.Config, outcome *result, asked *wcp.Guest, username string,
	users map[wcp.Address]kubeconfig.User) (*plan, error) {
	p := &plan{existing: existing, username: username, renamed: map[string]string{}, changes: &kubeconfig.Changes{
		Clusters: map[string]kubeconfig.Cluster{},
		Contexts: map[string]kubeconfig.Context{},
		Users:    map[string]kubeconfig.User{},
	}}
	for _, one := range outcome.accounts(asked) {
		if err := p.addUser(one, users[one.address]); err != nil {
			return nil, err
		}
	}
	for _, h := range append([]*host{outcome.server}, outcome.others...) {
		if !h.kept {
			p.changes.Clusters[p.clusterName(h.address)] = h.cluster
		}
	}
	server := outcome.server.address
	first := p.addContext(server.String(), "", server, server)
	var names []string
	for _, w := range outcome.workloads {
		names = append(names, p.addContext(w.namespace, w.namespace, w.host.address, w.host.address))
	}
	if entered := outcome.guest; entered != nil {
		address := entered.session.Server
		p.changes.Clusters[p.clusterName(address)] = entered.cluster
		names = append(names, p.addContext(asked.Name, "", address, server))
	}
	slices.Sort(names)
	p.names = append([]string{first}, slices.Compact(names)...)
	p.changes.CurrentContext = &first
	return p, nil
}

// addUser adds the user of an account.
func (p *plan) addUser(one account, user kubeconfig.User) error {
	name := kubeconfig.UserName(one.address.String(), p.username)
	if _, twice := p.changes.Users[name]; twice {
		return one.conflict(one.address.String())
	}
	if err := one.check(p.existing); err != nil {
		return err
	}
	p.changes.Users[name] = user
	return nil
}

// check says whether the entries that are named after the account's address are of
// a login at another server. That one's are not replaced: no server's word for where
// a cluster is gets its token, or an authority, into them.
func (a account) check(existing *kubeconfig.Config) error {
	if login, there := existing.Login(a.address.String()); there && login != a.login.String() {
		return a.conflict(login)
	}
	return nil
}

func (a account) conflict(login string) error {
	if a.guest == nil {
		return shell.Advise(fmt.Errorf("%s is the API server of a Tanzu Kubernetes cluster that you are logged in to at %s: "+
			"those entries of the kubeconfig are not replaced, and nothing was written", a.address, login),
			"Log out there first: kubectl vsphere logout --server=%s", login)
	}
	return shell.Advise(fmt.Errorf("%s says that cluster %s is at %s, where you are logged in to %s: "+
		"those entries of the kubeconfig are not replaced, and nothing was written", a.login, a.guest.Name, a.address, login),
		"Ask the administrator of %s whether that is right, and if so, log out first: kubectl vsphere logout --server=%s",
		a.login, login)
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
// that belongs to somebody else, to a login at another server, or to another
// context of this login, gets the host behind it.
func (p *plan) addContext(wanted, namespace string, address, login wcp.Address) string {
	context := kubeconfig.Context{
		Cluster: p.clusterName(address), Namespace: namespace, User: kubeconfig.UserName(address.String(), p.username),
	}
	name := wanted
	for n := 1; !p.free(name, context, login); n++ {
		name = fmt.Sprintf("%s-%s", wanted, address.Host)
		if n > 1 {
			name = fmt.Sprintf("%s-%s-%d", wanted, address.Host, n)
		}
	}
	if name != wanted {
		p.renamed[wanted] = p.why(wanted) + ": the new one is " + name
	}
	p.changes.Contexts[name] = context
	return name
}

// why says why a context cannot have the name that was wanted.
func (p *plan) why(wanted string) string {
	if address, _, ours := p.existing.Server(wanted); ours {
		login, _ := p.existing.Login(address)
		return fmt.Sprintf("the context %s is of your login at %s, and stays", wanted, login)
	}
	return "there is another context " + wanted
}

func (p *plan) free(name string, context kubeconfig.Context, login wcp.Address) bool {
	if taken, exists := p.changes.Contexts[name]; exists {
		return taken == context
	}
	if _, exists := p.existing.Contexts[name]; !exists {
		return true
	}
	address, _, ours := p.existing.Server(name)
	if !ours {
		return false
	}
	madeAt, _ := p.existing.Login(address)
	return madeAt == login.String()
}
