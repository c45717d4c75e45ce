// SPDX-License-Identifier: Apache-2.0

// vsphere-apiserver serves vSphere's resources as a Kubernetes API.
package main

import (
	"os"

	"k8s.io/component-base/cli"

	"github.com/openpacific/pacific/pkg/apiserver"
)

func main() {
	os.Exit(cli.Run(apiserver.NewCommand(apiserver.SignalContext())))
}
