// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"slices"
	"strings"
)

// The lists of a kubeconfig.
const (
	clusters = "clusters"
	contexts = "contexts"
	users    = "users"
)

// Cluster is how to reach an API server.
type Cluster struct {
	CertificateAuthorityData string      `yaml:"certificate-authority-data,omitempty"`
	CertificateAuthority     string      `yaml:"certificate-authority,omitempty"`
	Extensions               []Extension `yaml:"extensions,omitempty"`
	InsecureSkipTLSVerify    bool        `yaml:"insecure-skip-tls-verify,omitempty"`
	Server                   string      `yaml:"server"`
	TLSServerName            string      `yaml:"tls-server-name,omitempty"`
}

// Extension is what a program notes at an entry. kubectl leaves it there.
type Extension struct {
	Extension any    `yaml:"extension"`
	Name      string `yaml:"name"`
}

// loginExtension is where it is noted at which server the login was that has made
// an entry, where that is not the server that the entry is named after.
const loginExtension = "vsphere.openpacific.io/login"

// MadeAt notes at which server the login was that has made the entry.
func (c *Cluster) MadeAt(server string) {
	c.Extensions = []Extension{{Name: loginExtension, Extension: map[string]any{"server": server}}}
}

// madeAt returns what MadeAt has noted, else nothing.
func (c Cluster) madeAt() string {
	for _, one := range c.Extensions {
		if noted, ok := one.Extension.(map[string]any); ok && one.Name == loginExtension {
			server, _ := noted["server"].(string)
			return server
		}
	}
	return ""
}

// Context is a cluster, a user and a namespace.
type Context struct {
	Cluster   string `yaml:"cluster"`
	Namespace string `yaml:"namespace,omitempty"`
	User      string `yaml:"user"`
}

// User is how to authenticate.
type User struct {
	Exec  *Exec  `yaml:"exec,omitempty"`
	Token string `yaml:"token,omitempty"`
}

// Exec is a program that hands out a token.
type Exec struct {
	APIVersion         string   `yaml:"apiVersion"`
	Args               []string `yaml:"args"`
	Command            string   `yaml:"command"`
	Env                any      `yaml:"env"`
	InstallHint        string   `yaml:"installHint,omitempty"`
	InteractiveMode    string   `yaml:"interactiveMode"`
	ProvideClusterInfo bool     `yaml:"provideClusterInfo"`
}

// String and GoString keep the token out of whatever prints the struct.
func (u User) String() string   { return "user" }
func (u User) GoString() string { return "user" }

// userPrefix begins the name of each user that a login makes.
const userPrefix = "wcp:"

// UserName is how VMware's plugin calls the user of a server.
func UserName(server, username string) string {
	return userPrefix + server + ":" + username
}

// Owner reads back what UserName wrote.
func Owner(name string) (server, username string, ours bool) {
	rest, ours := strings.CutPrefix(name, userPrefix)
	colon := strings.LastIndex(rest, ":")
	if !ours || colon < 1 {
		return "", "", false
	}
	return rest[:colon], rest[colon+1:], true
}

// Config is what several files say together. Of two entries with one name the
// first counts, as for kubectl.
type Config struct {
	CurrentContext string
	Clusters       map[string]Cluster
	Contexts       map[string]Context
	Users          map[string]User
	Order          []string // of the contexts
}

// Server returns the server that a context's user is logged in to.
func (c *Config) Server(context string) (server, username string, ours bool) {
	return Owner(c.Contexts[context].User)
}

// Login returns the server at which the login was that has made the entries that
// are named after an address, and whether there are any. It is the address itself,
// but for the API server of a Tanzu Kubernetes cluster.
func (c *Config) Login(address string) (server string, there bool) {
	for name := range c.Users {
		named, _, ours := Owner(name)
		there = there || ours && named == address
	}
	for name, context := range c.Contexts {
		if named, _, ours := c.Server(name); !ours || named != address {
			continue
		}
		if noted := c.Clusters[context.Cluster].madeAt(); noted != "" {
			return noted, true
		}
		there = true
	}
	return address, there
}

// Logins returns the servers that there is a login to, the names of the users
// and the vSphere Namespaces: what a shell completes.
func (c *Config) Logins() (servers, usernames, namespaces []string) {
	for name := range c.Users {
		if address, username, ours := Owner(name); ours {
			server, _ := c.Login(address)
			servers, usernames = append(servers, server), append(usernames, username)
		}
	}
	for name, context := range c.Contexts {
		if _, _, ours := c.Server(name); ours && context.Namespace != "" {
			namespaces = append(namespaces, context.Namespace)
		}
	}
	unique := func(all []string) []string { slices.Sort(all); return slices.Compact(all) }
	return unique(servers), unique(usernames), unique(namespaces)
}

// OwnCluster says whether a cluster is used by contexts of ours and by no other.
func (c *Config) OwnCluster(name string) bool {
	own := false
	for context, entry := range c.Contexts {
		if entry.Cluster != name {
			continue
		}
		if _, _, ours := c.Server(context); !ours {
			return false
		}
		own = true
	}
	return own
}

// Changes are an edit. An entry that is both set and removed is set.
type Changes struct {
	Clusters map[string]Cluster
	Contexts map[string]Context
	Users    map[string]User

	RemoveClusters, RemoveContexts, RemoveUsers []string

	// CurrentContext is the new current context, empty to have none; nil
	// leaves it as it is.
	CurrentContext *string
}

// entry is one element of a list, in the order in which kubectl writes it.
type entry struct {
	Cluster *Cluster `yaml:"cluster,omitempty"`
	Context *Context `yaml:"context,omitempty"`
	Name    string   `yaml:"name"`
	User    *User    `yaml:"user,omitempty"`
}

// set returns the entries to set in one list.
func (c *Changes) set(list string) []entry {
	var all []entry
	switch list {
	case clusters:
		for name, cluster := range c.Clusters {
			all = append(all, entry{Name: name, Cluster: &cluster})
		}
	case contexts:
		for name, context := range c.Contexts {
			all = append(all, entry{Name: name, Context: &context})
		}
	case users:
		for name, user := range c.Users {
			all = append(all, entry{Name: name, User: &user})
		}
	}
	return all
}

// remove returns the names to remove from one list.
func (c *Changes) remove(list string) []string {
	return map[string][]string{clusters: c.RemoveClusters, contexts: c.RemoveContexts, users: c.RemoveUsers}[list]
}
