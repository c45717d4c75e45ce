// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
)

// NewCommand returns the command line of vsphere-apiserver. It runs until ctx
// ends.
func NewCommand(ctx context.Context) *cobra.Command { return NewCommandFor(ctx, NewOptions()) }

// NewCommandFor returns the command line with options that the caller may set
// further before the command runs.
func NewCommandFor(ctx context.Context, options *Options) *cobra.Command {
	// Other programs' libraries do this for them; alone, the logging options would ask for gates that are not there.
	if _, known := utilfeature.DefaultMutableFeatureGate.GetAll()[logsapi.ContextualLogging]; !known {
		utilruntime.Must(logsapi.AddFeatureGates(utilfeature.DefaultMutableFeatureGate))
	}
	command := &cobra.Command{
		Use:   "vsphere-apiserver",
		Short: "Serve vSphere's resources as a Kubernetes API, with vCenter as the storage",
		Long: "vsphere-apiserver is an aggregated API server: kube-apiserver forwards the groups of vSphere's resources to " +
			"it, and it answers from vCenter's own inventory, live. It keeps no copy of what vCenter knows.",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return compatibility.DefaultComponentGlobalsRegistry.Set()
		},
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			collectMore()
			return Run(command.Context(), options)
		},
	}
	command.SetContext(ctx)
	options.AddFlags(command.Flags())
	compatibility.DefaultComponentGlobalsRegistry.AddFlags(command.Flags())
	return command
}

// collectMore has garbage collected when the memory in use has grown by half, not
// when it has doubled as is Go's default: nearly all that this process holds is
// the inventory, which lives long, so that collecting more often costs little
// and saves a quarter of the memory. The environment variable GOGC says
// otherwise where it is set.
func collectMore() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// SignalContext ends at SIGTERM and SIGINT; a second one ends the process.
func SignalContext() context.Context { return genericapiserver.SetupSignalContext() }
