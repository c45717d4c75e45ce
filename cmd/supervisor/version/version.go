// SPDX-License-Identifier: Apache-2.0

// Package version is `supervisor version`: what this program was built from.
package version

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// NewCommand returns the command `version`.
func NewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this program and of what it holds",
		Args:  cobra.NoArgs,
		Run:   func(command *cobra.Command, _ []string) { show(command.OutOrStdout()) },
	}
}

func show(out io.Writer) {
	version := "(unknown)"
	modules := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				version += " " + setting.Value
			}
		}
		for _, module := range info.Deps {
			modules[module.Path] = module.Version
		}
	}
	fmt.Fprintf(out, "supervisor  %s\n", version)
	for _, line := range []struct{ name, module string }{
		{"Kubernetes", "k8s.io/kubernetes"},
		{"etcd", "go.etcd.io/etcd/server/v3"},
		{"govmomi", "github.com/vmware/govmomi"},
	} {
		if known := modules[line.module]; known != "" {
			fmt.Fprintf(out, "%-11s %s\n", line.name, known)
		}
	}
	fmt.Fprintf(out, "%-11s %s %s/%s\n", "Go", runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
