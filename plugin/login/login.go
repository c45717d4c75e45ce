// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/openpacific/pacific/plugin/credential"
	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp"
)

// Options are the flags of the command.
type Options struct {
	Server           string
	Username         string
	ClusterName      string
	ClusterNamespace string
	Insecure         bool
	CAFile           string
	AlsoServers      []string
	PasswordStdin    bool
	Auth             string
	Storage          string
	Output           string
}

// NewCommand returns the command `login`.
func NewCommand(sh *shell.Shell) *cobra.Command {
	o := &Options{}
	command := &cobra.Command{
		Use:   "login",
		Short: "Authenticate user with vCenter Namespaces",
		Long: `Authenticate user with vCenter Namespaces:
To access Kubernetes, you must first authenticate against vCenter Namespaces.
You must pass the address of the vCenter Namespaces server and the username of
the user to authenticate, and will be prompted to provide further credentials.

The password is taken from the environment variable KUBECTL_VSPHERE_PASSWORD,
from standard input with --password-stdin, or asked for on the terminal.

A server whose certificate is signed by nobody that this computer knows is
shown with its fingerprint, and trusted from then on if you say so. Where there
is no terminal, name its authority with --certificate-authority.

The password goes to that server. Another one that holds some of your namespaces
gets it only if you say so, or have named it with --also-server.

The API servers are tried before anything is written.`,
		Example: `  # Log in; contexts for the server and for your namespaces get into the kubeconfig
  kubectl vsphere login --vsphere-username user@domain --server=https://10.0.1.10

  # In a script
  kubectl vsphere login --server=10.0.1.10 -u user@domain --certificate-authority=ca.pem --password-stdin < password

  # Keep the token out of the kubeconfig, and be asked again when it has expired
  kubectl vsphere login --server=10.0.1.10 -u user@domain --auth=exec

  # Where the namespaces are on two Supervisors of one vCenter
  kubectl vsphere login --server=10.0.1.10 -u user@domain --also-server=10.0.1.20

  # Log in to a Tanzu Kubernetes cluster too
  kubectl vsphere login --server=10.0.1.10 -u user@domain \
    --tanzu-kubernetes-cluster-name=shop --tanzu-kubernetes-cluster-namespace=team-a`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.validate(command.Flags().Changed("token-cache")); err != nil {
				return err
			}
			return o.run(command.Context(), sh)
		},
	}
	o.addFlags(command.Flags())
	o.complete(command, sh)
	return command
}

func (o *Options) addFlags(flags *pflag.FlagSet) {
	const (
		cluster   = "Name of the Tanzu Kubernetes cluster to login to."
		namespace = "Namespace in which the Tanzu Kubernetes cluster resides."
		also      = "Another server to log in to when the first one names it; it gets your password too."
		auth      = "What kubectl authenticates with: token (in the kubeconfig) or exec (this plugin hands it out)."
		storage   = "With --auth=exec, where to keep the token: auto, keyring, file or none."
	)
	flags.BoolVar(&o.Insecure, "insecure-skip-tls-verify", false, "Skip certificate verification (this is insecure).")
	flags.StringVar(&o.Server, "server", "", "Address of the server to authenticate against.")
	flags.StringVar(&o.ClusterName, "tanzu-kubernetes-cluster-name", "", cluster)
	flags.StringVar(&o.ClusterNamespace, "tanzu-kubernetes-cluster-namespace", "", namespace)
	flags.StringVarP(&o.Username, "vsphere-username", "u", "", "Username to authenticate.")
	flags.StringVar(&o.CAFile, "certificate-authority", "",
		"File with the certificate authorities to trust, in PEM format.")
	flags.StringSliceVar(&o.AlsoServers, "also-server", nil, also)
	flags.BoolVar(&o.PasswordStdin, "password-stdin", false, "Read the password from standard input.")
	flags.StringVar(&o.Auth, "auth", "token", auth)
	flags.StringVar(&o.Storage, "token-cache", credential.Auto, storage)
	flags.StringVarP(&o.Output, "output", "o", "", "Output format: json, yaml or name.")
	// The names of the flags in vSphere 7.0.
	flags.StringVar(&o.ClusterName, "managed-cluster-name", "", "")
	flags.StringVar(&o.ClusterNamespace, "managed-cluster-namespace", "", "")
	for _, old := range []string{"managed-cluster-name", "managed-cluster-namespace"} {
		_ = flags.MarkHidden(old)
	}
}

// complete offers what earlier logins have used.
func (o *Options) complete(command *cobra.Command, sh *shell.Shell) {
	earlier := func(pick func(servers, usernames, namespaces []string) []string) cobra.CompletionFunc {
		return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			files, err := kubeconfig.FromEnvironment(sh.Getenv)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			config, err := files.Load()
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return pick(config.Logins()), cobra.ShellCompDirectiveNoFileComp
		}
	}
	for flag, complete := range map[string]cobra.CompletionFunc{
		"server":                             earlier(func(servers, _, _ []string) []string { return servers }),
		"vsphere-username":                   earlier(func(_, usernames, _ []string) []string { return usernames }),
		"tanzu-kubernetes-cluster-namespace": earlier(func(_, _, namespaces []string) []string { return namespaces }),
		"also-server":                        earlier(func(servers, _, _ []string) []string { return servers }),
		"auth": cobra.FixedCompletions([]string{"token", "exec"},
			cobra.ShellCompDirectiveNoFileComp),
		"token-cache": cobra.FixedCompletions(credential.Storages(),
			cobra.ShellCompDirectiveNoFileComp),
		"output": cobra.FixedCompletions(shell.Formats(), cobra.ShellCompDirectiveNoFileComp),
	} {
		_ = command.RegisterFlagCompletionFunc(flag, complete)
	}
}

func (o *Options) validate(storageGiven bool) error {
	switch {
	case o.Server == "":
		return shell.Advise(errors.New("--server is missing"),
			"kubectl vsphere login --server=ADDRESS --vsphere-username=USER@DOMAIN")
	case o.Auth != "token" && o.Auth != "exec":
		return fmt.Errorf("--auth %q: it must be token or exec", o.Auth)
	case o.Auth == "token" && storageGiven:
		return shell.Advise(errors.New("--token-cache is for --auth=exec"), "without it, the token is in the kubeconfig")
	case o.Insecure && o.CAFile != "":
		return errors.New("--certificate-authority and --insecure-skip-tls-verify exclude each other")
	case o.PasswordStdin && o.Username == "":
		return errors.New("--password-stdin needs --vsphere-username: standard input cannot answer both")
	case strings.Contains(o.Username, ":"):
		return errors.New("a user name cannot hold a colon")
	case o.ClusterName != "" && !wcp.ValidName(o.ClusterName):
		return fmt.Errorf("%q is not the name of a cluster", o.ClusterName)
	case o.ClusterNamespace != "" && !wcp.ValidName(o.ClusterNamespace):
		return fmt.Errorf("%q is not the name of a namespace", o.ClusterNamespace)
	}
	if err := shell.CheckFormat(o.Output); err != nil {
		return err
	}
	return credential.CheckStorage(o.Storage)
}

// run logs in, writes the kubeconfig and prints the contexts.
func (o *Options) run(ctx context.Context, sh *shell.Shell) error {
	address, err := wcp.ParseAddress(o.Server)
	if err != nil {
		return err
	}
	files, err := kubeconfig.FromEnvironment(sh.Getenv)
	if err != nil {
		return err
	}
	existing, err := files.Load()
	if err != nil {
		return err // before anybody types a password
	}
	if err := (account{address: address, login: address}).check(existing); err != nil {
		return err
	}
	entrance, err := o.door(sh)
	if err != nil {
		return err
	}
	client := func(address wcp.Address, guard *trust.Guard) *wcp.Client {
		return wcp.New(address, guard.Transport(), entrance.timeout, sh.Log(), sh.Now)
	}
	policy, err := o.policy(sh, address)
	if err != nil {
		return err
	}
	guard, err := policy.Guard(address.String(), address.Host)
	if err != nil {
		return err
	}
	if err := entrance.server(ctx, client(address, guard), guard); err != nil {
		return err
	}
	credentials, err := o.credentials(ctx, sh)
	if err != nil {
		return err
	}
	login := &authenticator{
		address: address, guard: guard, credentials: *credentials, guest: o.guest(), existing: existing,
		client: client, door: entrance, resolve: resolve, step: sh.Progress, log: sh.Log(),
	}
	outcome, err := login.run(ctx)
	if err != nil {
		return err
	}
	for _, failure := range outcome.failures {
		o.warn(sh, failure)
	}
	names, err := o.write(ctx, sh, files, existing, credentials.Username, outcome)
	if err != nil {
		return err
	}
	return o.print(sh, outcome, names, credentials.Username)
}

// door is the one at which the servers are looked at.
func (o *Options) door(sh *shell.Shell) (*door, error) {
	timeout, err := sh.Timeout()
	if err != nil {
		return nil, err
	}
	d := &door{sh: sh, timeout: timeout, log: sh.Log()}
	for _, text := range o.AlsoServers {
		allowed, err := wcp.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("--also-server: %w", err)
		}
		d.allowed = append(d.allowed, allowed)
	}
	return d, nil
}

// policy is what the user has said about trust.
func (o *Options) policy(sh *shell.Shell, address wcp.Address) (policy trust.Policy, err error) {
	policy = trust.Policy{Insecure: o.Insecure, Now: sh.Now}
	switch {
	case o.Insecure:
		sh.Warn("the certificate of %s is not checked: whoever answers gets your password", address)
	case o.CAFile != "":
		policy.CA, err = trust.ReadCA(o.CAFile)
	default:
		policy.Store, err = trust.OpenStore(sh)
	}
	return policy, err
}

func (o *Options) guest() *wcp.Guest {
	if o.ClusterName == "" {
		return nil
	}
	return &wcp.Guest{Name: o.ClusterName, Namespace: o.ClusterNamespace}
}

func (o *Options) warn(sh *shell.Shell, failure error) {
	sh.Warn("%s", shell.Line(failure.Error(), 1000))
	var uninvited *Uninvited
	if errors.As(failure, &uninvited) {
		fmt.Fprintf(sh.Err, "hint: log in to it by itself, or allow it with --also-server=%s\n", uninvited.Server)
	}
}

// credentials asks for what neither flags nor environment say.
func (o *Options) credentials(ctx context.Context, sh *shell.Shell) (*wcp.Credentials, error) {
	username, err := o.Username, error(nil)
	if username == "" {
		if !sh.Interactive() {
			return nil, shell.Advise(errors.New("there is no user name, and no terminal to ask for it"),
				"pass it with --vsphere-username")
		}
		if username, err = sh.ReadLine(ctx, "Username: "); err != nil {
			return nil, fmt.Errorf("read the user name from the terminal: %w", err)
		}
		if username == "" || strings.Contains(username, ":") {
			return nil, errors.New("that is not a user name")
		}
	}
	password := sh.Getenv(shell.Password)
	switch {
	case o.PasswordStdin:
		password, err = sh.PasswordFromInput(ctx)
	case password != "":
	case !sh.Interactive():
		err = shell.Advise(errors.New("there is no password, and no terminal to ask for it"),
			"set %s, or pass the password with --password-stdin", shell.Password)
	default:
		password, err = sh.ReadPassword(ctx,
			shell.Password+" environment variable is not set. Please enter the password below\nPassword: ")
		if err == nil && password == "" {
			err = errors.New("the password is empty")
		}
	}
	if err != nil {
		return nil, err
	}
	return &wcp.Credentials{Username: username, Password: password}, nil
}

// write keeps the tokens, with --auth=exec in the cache, and puts the entries into
// the kubeconfig.
func (o *Options) write(ctx context.Context, sh *shell.Shell, files *kubeconfig.Files, existing *kubeconfig.Config,
	username string, outcome *result) ([]string, error) {
	// What cannot be written is said before a token is kept.
	if _, err := makePlan(existing, outcome, o.guest(), username, nil); err != nil {
		return nil, err
	}
	users := map[wcp.Address]kubeconfig.User{}
	for _, one := range outcome.accounts(o.guest()) {
		users[one.address] = kubeconfig.User{Token: one.session.Token}
	}
	if o.Auth == "exec" {
		var err error
		if users, err = o.keep(ctx, sh, username, outcome.accounts(o.guest())); err != nil {
			return nil, err
		}
	}
	var made *plan
	err := files.Edit(ctx, func(existing *kubeconfig.Config) (changes *kubeconfig.Changes, err error) {
		if made, err = makePlan(existing, outcome, o.guest(), username, users); err != nil {
			return nil, err
		}
		return made.changes, nil
	})
	if err != nil {
		return nil, err
	}
	for _, wanted := range slices.Sorted(maps.Keys(made.renamed)) {
		sh.Warn("%s", made.renamed[wanted])
	}
	return made.names, nil
}

// keep puts the tokens into the cache and returns users that have them from there.
func (o *Options) keep(ctx context.Context, sh *shell.Shell, username string,
	accounts []account) (map[wcp.Address]kubeconfig.User, error) {
	// Only here, since with the token in the kubeconfig nobody needs a home.
	cache, err := credential.Open(sh, o.Storage)
	if err != nil {
		return nil, err
	}
	authority := o.CAFile
	if authority != "" {
		if authority, err = filepath.Abs(authority); err != nil {
			return nil, fmt.Errorf("find the file of --certificate-authority: %w", err)
		}
	}
	users := map[wcp.Address]kubeconfig.User{}
	for _, one := range accounts {
		flags := &credential.Options{
			Server: one.login.String(), Username: username, Storage: o.Storage, CAFile: authority, Insecure: o.Insecure,
		}
		if one.guest != nil {
			flags.Cluster, flags.Namespace = one.guest.Name, one.guest.Namespace
		}
		if err := cache.Save(ctx, flags.Key(), credential.Token{Value: one.session.Token,
			Expires: one.session.Expires}); err != nil {
			return nil, err
		}
		users[one.address] = kubeconfig.User{Exec: &kubeconfig.Exec{
			APIVersion: "client.authentication.k8s.io/v1", Command: program(), Args: flags.Arguments(),
			InstallHint:     "kubectl-vsphere is not in PATH; it hands the token of your vSphere login to kubectl",
			InteractiveMode: "IfAvailable",
		}}
	}
	return users, nil
}

// program is how kubectl is to call this program: by its name where that leads
// here, so that the kubeconfig survives an update, else by its path.
func program() string {
	const name = "kubectl-vsphere"
	self, err := os.Executable()
	if err != nil {
		return name
	}
	found, err := exec.LookPath(name)
	if err == nil {
		a, errA := os.Stat(found)
		b, errB := os.Stat(self)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return name
		}
	}
	return self
}

// report is what -o json and -o yaml print.
type report struct {
	Server         string     `json:"server" yaml:"server"`
	Username       string     `json:"username" yaml:"username"`
	CurrentContext string     `json:"currentContext" yaml:"currentContext"`
	Contexts       []string   `json:"contexts" yaml:"contexts"`
	Failed         []string   `json:"failed,omitempty" yaml:"failed,omitempty"`
	Expires        *time.Time `json:"expires,omitempty" yaml:"expires,omitempty"`
}

func (o *Options) print(sh *shell.Shell, outcome *result, names []string, username string) error {
	if len(outcome.failed) > 0 {
		fmt.Fprintf(sh.Err, "Not all cluster/workload sessions were established. "+
			"Login failed for the following clusters/workloads:\n   %s\n", strings.Join(outcome.failed, "\n   "))
	}
	what := report{
		Server: outcome.server.address.String(), Username: username, CurrentContext: names[0], Contexts: names,
		Failed: outcome.failed,
	}
	if expires := outcome.server.session.Expires; !expires.IsZero() {
		what.Expires = &expires
	}
	if o.Output != "" {
		return shell.Print(sh.Out, o.Output, what, names)
	}
	_, err := fmt.Fprintf(sh.Out, `Logged in successfully.

You have access to the following contexts:
   %s

If the context you wish to use is not in this list, you may need to try
logging in again later, or contact your cluster administrator.

To change context, use `+"`kubectl config use-context <workload name>`\n", strings.Join(names, "\n   "))
	return err
}
