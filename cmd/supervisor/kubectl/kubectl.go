// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	// Exec and provider credentials of kubeconfigs, as the real kubectl has them.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	kubectlcmd "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/plugin"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

const name = "kubectl"

// IsInvoked tells whether this program was started under the name kubectl, through a link to it.
func IsInvoked(argv0 string) bool {
	return strings.TrimSuffix(filepath.Base(argv0), ".exe") == name
}

// NewCommand returns the command `kubectl`, which leaves all of its arguments to kubectl.
func NewCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl [command] [flags]",
		Short:              "The real kubectl, for this Supervisor unless KUBECONFIG or --kubeconfig says otherwise",
		DisableFlagParsing: true,
		SilenceUsage:       true,
		Run:                func(_ *cobra.Command, args []string) { Run(args) },
	}
}

// Run is the whole of a kubectl process: it changes the environment and the arguments of this process, and ends it when
// kubectl fails.
func Run(args []string) {
	// kubectl reads its name and its arguments from os.Args in many places (usage, user agent, completion, plugins).
	os.Args = append([]string{name}, args...)
	prepareEnvironment(args)

	_, _ = logs.GlogSetter(kubectlcmd.GetLogVerbosity(os.Args))
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	command := kubectlcmd.NewDefaultKubectlCommandWithArgs(kubectlcmd.KubectlOptions{
		PluginHandler: kubectlcmd.NewDefaultPluginHandler(plugin.ValidPluginFilenamePrefixes),
		Arguments:     os.Args,
		ConfigFlags: genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().
			WithDiscoveryBurst(300).WithDiscoveryQPS(50.0).WithWarningPrinter(streams),
		IOStreams: streams,
	})
	if err := cli.RunNoErrOutput(command); err != nil {
		cmdutil.CheckErr(err)
	}
}

// prepareEnvironment puts this program's folder first in PATH and, when nobody named a kubeconfig, the working
// directory's Supervisor into KUBECONFIG. Plugins inherit both.
func prepareEnvironment(args []string) {
	if executable, err := os.Executable(); err == nil {
		path := filepath.Dir(executable)
		if rest := os.Getenv("PATH"); rest != "" {
			path += string(os.PathListSeparator) + rest
		}
		os.Setenv("PATH", path)
	}
	if os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != "" || namesKubeconfig(args) {
		return
	}
	dir, err := datadir.New(datadir.Default)
	if err != nil {
		return
	}
	if _, err := os.Stat(dir.AdminKubeconfig()); err == nil {
		os.Setenv(clientcmd.RecommendedConfigPathEnvVar, dir.AdminKubeconfig())
	}
}

// namesKubeconfig looks for --kubeconfig among the arguments in front of a `--`.
func namesKubeconfig(args []string) bool {
	for _, arg := range args {
		if arg == "--" {
			return false
		}
		if arg == "--"+clientcmd.RecommendedConfigPathFlag ||
			strings.HasPrefix(arg, "--"+clientcmd.RecommendedConfigPathFlag+"=") {
			return true
		}
	}
	return false
}
