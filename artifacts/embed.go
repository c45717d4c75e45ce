// SPDX-License-Identifier: Apache-2.0

// Package artifacts holds the manifests that install Pacific in a cluster, for programs that apply them themselves.
package artifacts

import "embed"

// Base is what every installation has in common: base/namespace.yaml, base/rbac.yaml, base/roles.yaml, base/service.yaml,
// base/statefulset.yaml and
// base/apiservice.yaml. It is read-only.
//
//go:embed base/*.yaml
var Base embed.FS
