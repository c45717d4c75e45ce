// SPDX-License-Identifier: Apache-2.0

package component

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/transport"
	"k8s.io/component-base/cli"
	kubeapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kubecontrollermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	"github.com/openpacific/pacific/cmd/supervisor/process"
)

// Names of the components.
const (
	Etcd                  = "etcd"
	KubeAPIServer         = "kube-apiserver"
	KubeControllerManager = "kube-controller-manager"
	VSphereAPIServer      = "vsphere-apiserver"
	VCenter               = "vcenter"
)

// Component is one program inside this one.
type Component struct {
	Name string
	// Command builds the component. ctx ends when the process is asked to stop; components that listen for signals
	// themselves do not need it.
	Command func(ctx context.Context) *cobra.Command
	// OwnSignals is set for components that install their own handler for SIGTERM: a process can have only one of
	// k8s.io/apiserver's.
	OwnSignals bool
}

// Components is the table of them all.
func Components() []Component {
	return []Component{
		{Name: Etcd, Command: newEtcdCommand},
		{Name: KubeAPIServer, OwnSignals: true, Command: func(context.Context) *cobra.Command {
			return kubeapiserver.NewAPIServerCommand()
		}},
		{Name: KubeControllerManager, OwnSignals: true, Command: func(context.Context) *cobra.Command {
			return kubecontrollermanager.NewControllerManagerCommand()
		}},
		{Name: VSphereAPIServer, Command: newVSphereAPIServerCommand},
		{Name: VCenter, Command: newVCenterCommand},
	}
}

// NewCommand returns the hidden command `component`.
func NewCommand(components []Component) *cobra.Command {
	parent := &cobra.Command{
		Use:    "component NAME [flags]",
		Short:  "Run one component of the Supervisor in this process",
		Hidden: true,
	}
	for _, component := range components {
		parent.AddCommand(&cobra.Command{
			Use:                component.Name,
			Short:              "Run " + component.Name,
			DisableFlagParsing: true,
			RunE:               func(_ *cobra.Command, args []string) error { return component.run(args) },
		})
	}
	return parent
}

// refreshVariable says how often clients look whether the file of their certificate has changed.
const refreshVariable = "PACIFIC_CERTIFICATE_REFRESH"

// Environment is what a component's process finds in its environment: how often clients look whether the file of their
// certificate has changed.
func Environment(refresh time.Duration) []string {
	return []string{refreshVariable + "=" + refresh.String()}
}

func (c Component) run(args []string) error {
	if refresh, err := time.ParseDuration(os.Getenv(refreshVariable)); err == nil {
		transport.CertCallbackRefreshDuration = refresh
	}
	go process.FollowParent(context.Background(), time.Second, func() { os.Exit(1) })
	ctx := context.Background()
	if !c.OwnSignals {
		var stop context.CancelFunc
		ctx, stop = signalContext(ctx)
		defer stop()
	}
	command := c.Command(ctx)
	command.SetArgs(args)
	if !c.OwnSignals {
		command.SetContext(ctx)
	}
	// The name in front of a usage message: what somebody would have to type.
	command.Use = c.Name + strings.TrimPrefix(command.Use, command.Name())
	if code := cli.Run(command); code != 0 {
		return exitError(code)
	}
	return nil
}

// exitError is the exit code of a component, which has said itself what is wrong.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// ExitCode returns the code to end the process with.
func (e exitError) ExitCode() int { return int(e) }
