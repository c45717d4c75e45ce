// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp"
)

// apiVersion is the version of client.authentication.k8s.io that is spoken.
const apiVersion = "client.authentication.k8s.io/v1"

// Options are the flags of the command. Login writes them into a kubeconfig.
type Options struct {
	Server    string
	Username  string
	Cluster   string
	Namespace string
	Storage   string
	CAFile    string
	Insecure  bool
}

// Arguments are the command line that reads back as these options. There is no
// secret in it.
func (o *Options) Arguments() []string {
	arguments := []string{"credential", "--server=" + o.Server, "--vsphere-username=" + o.Username,
		"--token-cache=" + o.Storage}
	if o.Cluster != "" {
		arguments = append(arguments, "--tanzu-kubernetes-cluster-name="+o.Cluster)
	}
	if o.Namespace != "" {
		arguments = append(arguments, "--tanzu-kubernetes-cluster-namespace="+o.Namespace)
	}
	if o.CAFile != "" {
		arguments = append(arguments, "--certificate-authority="+o.CAFile)
	}
	if o.Insecure {
		arguments = append(arguments, "--insecure-skip-tls-verify")
	}
	return arguments
}

// NewCommand returns the command `credential`, which people do not call.
func NewCommand(sh *shell.Shell) *cobra.Command {
	o := &Options{}
	command := &cobra.Command{
		Use:    "credential",
		Short:  "Hand a token to kubectl",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(command *cobra.Command, _ []string) error { return o.run(command.Context(), sh) },
	}
	o.addFlags(command.Flags())
	return command
}

func (o *Options) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Server, "server", "", "Address of the server to authenticate against.")
	flags.StringVarP(&o.Username, "vsphere-username", "u", "", "Username to authenticate.")
	flags.StringVar(&o.Cluster, "tanzu-kubernetes-cluster-name", "", "Name of the Tanzu Kubernetes cluster.")
	flags.StringVar(&o.Namespace, "tanzu-kubernetes-cluster-namespace", "",
		"Namespace in which the Tanzu Kubernetes cluster resides.")
	flags.StringVar(&o.Storage, "token-cache", Auto, "Where to keep the token: auto, keyring, file or none.")
	flags.StringVar(&o.CAFile, "certificate-authority", "", "File with the certificate authorities to trust.")
	flags.BoolVar(&o.Insecure, "insecure-skip-tls-verify", false, "Skip certificate verification (this is insecure).")
}

// ParseArguments reads what Arguments has written.
func ParseArguments(arguments []string) (*Options, bool) {
	if len(arguments) == 0 || arguments[0] != "credential" {
		return nil, false
	}
	o := &Options{}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.addFlags(flags)
	return o, flags.Parse(arguments[1:]) == nil
}

// Key is what these options get a token for.
func (o *Options) Key() Key {
	server := o.Server
	if address, err := wcp.ParseAddress(server); err == nil {
		server = address.String()
	}
	return Key{Server: server, Username: o.Username, Cluster: o.Cluster, Namespace: o.Namespace}
}

// execInfo is what kubectl tells in KUBERNETES_EXEC_INFO. What it may say of the
// cluster is not read: another certificate than the login service's is verified
// with that.
type execInfo struct {
	APIVersion string `json:"apiVersion"`
	Spec       struct {
		Interactive *bool `json:"interactive"`
	} `json:"spec"`
}

func readExecInfo(text string) (*execInfo, error) {
	info := &execInfo{}
	if text == "" {
		return info, nil
	}
	if err := json.Unmarshal([]byte(text), info); err != nil {
		return nil, errors.New("KUBERNETES_EXEC_INFO cannot be parsed")
	}
	if info.APIVersion != apiVersion {
		return nil, shell.Advise(fmt.Errorf("kubectl asks for a credential of %q, this plugin has %s", info.APIVersion,
			apiVersion),
			"use kubectl 1.22 or later")
	}
	return info, nil
}

// run prints a token.
func (o *Options) run(ctx context.Context, sh *shell.Shell) error {
	address, err := wcp.ParseAddress(o.Server)
	if err != nil {
		return err
	}
	if o.Username == "" {
		return errors.New("--vsphere-username is missing")
	}
	info, err := readExecInfo(sh.Getenv("KUBERNETES_EXEC_INFO"))
	if err != nil {
		return err
	}
	cache, err := Open(sh, o.Storage)
	if err != nil {
		return err
	}
	key := o.Key()
	token, err := cache.Load(ctx, key)
	if err != nil {
		return err
	}
	if !token.good(sh.Now()) {
		release, err := cache.Lock(ctx, key)
		if err != nil {
			return err
		}
		defer release()
		// Another process may have logged in while this one waited.
		if token, err = cache.Load(ctx, key); err != nil {
			return err
		}
		if !token.good(sh.Now()) {
			if token, err = o.renew(ctx, sh, cache, key, address, info); err != nil {
				return err
			}
		}
	}
	return write(sh, token)
}

// write prints the token as kubectl wants it.
func write(sh *shell.Shell, token *Token) error {
	type status struct {
		Expires string `json:"expirationTimestamp,omitempty"`
		Token   string `json:"token"`
	}
	credential := struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Status     status `json:"status"`
	}{apiVersion, "ExecCredential", status{Token: token.Value}}
	if !token.Expires.IsZero() {
		credential.Status.Expires = token.Expires.UTC().Format(time.RFC3339)
	}
	return json.NewEncoder(sh.Out).Encode(credential)
}

// renew logs in again.
func (o *Options) renew(ctx context.Context, sh *shell.Shell, cache *Cache, key Key, address wcp.Address,
	info *execInfo) (*Token, error) {
	password := sh.Getenv(shell.Password)
	typed := password == ""
	if !typed {
		if when, refused := cache.Refused(key, sh.Now()); refused {
			return nil, fmt.Errorf("%s was refused the password in %s at %s; so that the account is not locked, "+
				"it is tried again a minute later", address, shell.Password, when.Format(time.TimeOnly))
		}
	}
	// kubectl's own wish counts as well: it may need standard input itself.
	if typed && (!sh.Interactive() || info.Spec.Interactive != nil && !*info.Spec.Interactive) {
		return nil, fmt.Errorf("your session at %s is over; run: %s", address, o.loginLine(address))
	}
	guard, err := o.guard(sh, address)
	if err != nil {
		return nil, err
	}
	timeout, err := sh.Timeout()
	if err != nil {
		return nil, err
	}
	client := wcp.New(address, guard.Transport(), timeout, sh.Log(), sh.Now)
	// The first request carries no password: it finds out who answers.
	if _, err := client.Banner(ctx); err != nil {
		return nil, err
	}
	if typed {
		prompt := fmt.Sprintf("Your session at %s is over.\nPassword of %s: ", address, o.Username)
		if password, err = sh.ReadPassword(ctx, prompt); err != nil {
			return nil, err
		}
	}
	var guest *wcp.Guest
	if o.Cluster != "" {
		guest = &wcp.Guest{Name: o.Cluster, Namespace: o.Namespace}
	}
	done := sh.Progress("Logging in to " + address.String())
	session, err := client.Login(ctx, wcp.Credentials{Username: o.Username, Password: password}, guest)
	done()
	if err != nil {
		if wcp.Refused(err) {
			_ = cache.NoteRefusal(key) // the next try is refused by the server then
		}
		return nil, fmt.Errorf("Login failed: %w", err)
	}
	token := &Token{Value: session.Token, Expires: session.Expires}
	return token, cache.Save(ctx, key, *token)
}

// guard trusts what the login has trusted.
func (o *Options) guard(sh *shell.Shell, address wcp.Address) (*trust.Guard, error) {
	policy := trust.Policy{Insecure: o.Insecure, Now: sh.Now}
	var err error
	switch {
	case o.Insecure:
	case o.CAFile != "":
		policy.CA, err = trust.ReadCA(o.CAFile)
	default:
		policy.Store, err = trust.OpenStore(sh)
	}
	if err != nil {
		return nil, err
	}
	return policy.Guard(address.String(), address.Host)
}

// loginLine is what to run, on a terminal, for a new token.
func (o *Options) loginLine(address wcp.Address) string {
	line := fmt.Sprintf("kubectl vsphere login --server=%s --vsphere-username=%s --auth=exec", address, o.Username)
	if o.Cluster != "" {
		line += " --tanzu-kubernetes-cluster-name=" + o.Cluster
	}
	if o.Namespace != "" {
		line += " --tanzu-kubernetes-cluster-namespace=" + o.Namespace
	}
	if o.Storage != Auto {
		line += " --token-cache=" + o.Storage
	}
	if o.CAFile != "" {
		line += " --certificate-authority=" + o.CAFile
	}
	return line
}
