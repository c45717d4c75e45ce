// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// appearTimeout bounds the waiting for the inventory to show what was done. It is behind by moments; what takes longer
	// is found out by looking at vCenter.
	appearTimeout = 5 * time.Second
	// appearInterval is how often it is looked whether it does.
	appearInterval = 50 * time.Millisecond
)

// appear waits until a machine is served as what was done has made it, or for a while. Until then it looks as if that
// were yet to be done, so whoever is woken by another change of it would ask vCenter only to be told that it is done.
func (c *Controller) appear(ctx context.Context, m Machine, done func(now Machine) bool) {
	ctx, stop := context.WithTimeout(ctx, appearTimeout)
	defer stop()
	// When it does not appear, nothing is lost.
	_ = wait.PollUntilContextCancel(ctx, appearInterval, true, func(context.Context) (bool, error) {
		now, found := c.Machines.Find(m.Object.Namespace, m.Object.Name)
		return !found || now.Object.UID != m.Object.UID || done(now), nil
	})
}
