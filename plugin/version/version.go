// SPDX-License-Identifier: Apache-2.0

// Package version is `kubectl vsphere version`: what this program was built from.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/shell"
)

// release is set by the linker for a release.
var release string

type report struct {
	Version  string `json:"version" yaml:"version"`
	Build    string `json:"build" yaml:"build"`
	Go       string `json:"go" yaml:"go"`
	Platform string `json:"platform" yaml:"platform"`
}

// NewCommand returns the command `version`.
func NewCommand(sh *shell.Shell) *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "version",
		Short: "Prints the version of the plugin.",
		Example: `  kubectl vsphere version
  kubectl vsphere version -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := shell.CheckFormat(output); err != nil {
				return err
			}
			what := read()
			if output != "" {
				return shell.Print(sh.Out, output, what, []string{what.Version})
			}
			_, err := fmt.Fprintf(sh.Out, "kubectl-vsphere: version %s, build %s, %s, %s\n",
				what.Version, what.Build, what.Go, what.Platform)
			return err
		},
	}
	command.Flags().StringVarP(&output, "output", "o", "", "Output format: json, yaml or name.")
	return command
}

func read() report {
	what := report{Version: "unknown", Build: "unknown", Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		what.Version = info.Main.Version
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				what.Build = setting.Value[:min(12, len(setting.Value))]
			}
		}
	}
	if release != "" {
		what.Version = release
	}
	return what
}
