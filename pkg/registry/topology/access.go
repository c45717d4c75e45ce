// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
)

// Access tells, for each of the namespaces, whether somebody sees it.
type Access interface {
	Sees(ctx context.Context, who user.Info, namespaces []string) ([]bool, error)
}

type cutter struct{ access Access }

// cut shows zones without the namespaces that somebody does not see. The maps
// belong to the store, so they are not changed but replaced.
func (c cutter) cut(ctx context.Context, who user.Info,
	zones []*v1alpha1.AvailabilityZone) ([]*v1alpha1.AvailabilityZone, error) {
	all := sets.New[string]()
	for _, zone := range zones {
		all.Insert(slices.Collect(maps.Keys(zone.Spec.Namespaces))...)
	}
	if len(all) == 0 {
		return zones, nil
	}
	names := sets.List(all)
	answers, err := c.access.Sees(ctx, who, names)
	if err != nil {
		// Whatever the reason is: neither all nor nothing is the answer.
		return nil, fmt.Errorf("find out which namespaces %q sees: %w: %v", who.GetName(), failure.Unavailable, err)
	}
	for i, name := range names {
		if !answers[i] {
			all.Delete(name)
		}
	}
	shown := make([]*v1alpha1.AvailabilityZone, len(zones))
	for i, zone := range zones {
		cut := *zone
		cut.Spec.Namespaces = make(map[string]v1alpha1.NamespaceInfo, len(zone.Spec.Namespaces))
		for name, info := range zone.Spec.Namespaces {
			if all.Has(name) {
				cut.Spec.Namespaces[name] = info
			}
		}
		shown[i] = &cut
	}
	return shown, nil
}
