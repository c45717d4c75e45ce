// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"slices"
	"testing"

	"github.com/openpacific/pacific/pkg/vcenter/picture"
	vnsvcenter "github.com/openpacific/pacific/pkg/vcenter/vspherenamespace"
)

// TestOneInventoryServesAllProjections holds the paths that are asked for to
// those that are read: each kind is asked for once, for everybody.
func TestOneInventoryServesAllProjections(t *testing.T) {
	read := []struct {
		projection, kind string
		paths            []string
	}{
		{"vspherenamespace", vnsvcenter.TypeVirtualMachine, vnsvcenter.Paths()},
		{"vspherenamespace", vnsvcenter.TypeFolder, vnsvcenter.FolderPaths()},
		{"vspherenamespace", vnsvcenter.TypeCluster, vnsvcenter.ClusterPaths()},
		{"vspherenamespace", vnsvcenter.TypeResourcePool, vnsvcenter.ResourcePoolPaths()},
	}
	asked := map[string][]string{}
	for _, kind := range picture.Kinds() {
		if asked[kind.Type] != nil {
			t.Errorf("%s is asked for twice", kind.Type)
		}
		asked[kind.Type] = kind.Paths
	}
	for _, reader := range read {
		for _, path := range reader.paths {
			if !slices.Contains(asked[reader.kind], path) {
				t.Errorf("%s reads %s of %s, which nobody asks vCenter for", reader.projection, path, reader.kind)
			}
		}
	}
}
