// SPDX-License-Identifier: Apache-2.0

// Package artifacts holds the manifests that install Pacific in a cluster, for programs that apply them themselves.
package artifacts

import "embed"

// Base is what every installation has in common, in the folder base. It is read-only.
//
//go:embed base/*.yaml
var Base embed.FS

// Samples is what goes with the simulated vCenter from the start, in the folder samples. It is read-only.
//
//go:embed samples/namespaces.yaml
var Samples embed.FS
