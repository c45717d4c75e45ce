// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"testing"

	"github.com/openpacific/pacific/pkg/apis/topology/install"
	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
)

func TestConformance(t *testing.T) {
	t.Run("availability zones", func(t *testing.T) {
		kindtest.Run(t, kindtest.Suite[v1alpha1.AvailabilityZone, v1alpha1.AvailabilityZoneList]{
			Install: install.Install,
			Kind: func() *registry.Kind[v1alpha1.AvailabilityZone, v1alpha1.AvailabilityZoneList] {
				return AvailabilityZones(&sight{sees: map[string][]string{kindtest.Admin: {"*"}}})
			},
			Object: func(_, name string) *v1alpha1.AvailabilityZone { return zone(name, "team-a", "team-b") },
		})
	})
	t.Run("zones", func(t *testing.T) {
		kindtest.Run(t, kindtest.Suite[v1alpha1.Zone, v1alpha1.ZoneList]{
			Install: install.Install,
			Kind:    Zones,
			Object:  part,
		})
	})
}
