// SPDX-License-Identifier: Apache-2.0

package component

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

func newVSphereAPIServerCommand(context.Context) *cobra.Command { return missing(VSphereAPIServer) }
func newVCenterCommand(context.Context) *cobra.Command          { return missing(VCenter) }

func missing(name string) *cobra.Command {
	return &cobra.Command{Use: name, DisableFlagParsing: true, RunE: func(*cobra.Command, []string) error { return errors.New("not built in") }}
}
