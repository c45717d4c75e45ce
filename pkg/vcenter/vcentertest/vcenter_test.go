// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"testing"

	"github.com/vmware/govmomi/find"
)

func TestSmall(t *testing.T) {
	v := Run(t, Options{})
	ctx := context.Background()
	c, err := v.Client(ctx)
	if err != nil {
		t.Fatal(err)
	}
	vms, err := find.NewFinder(c.Client).VirtualMachineList(ctx, "/DC0/vm/...")
	if err != nil {
		t.Fatal(err)
	}
	if len(vms) != 4 {
		t.Errorf("machines: %d, want 4", len(vms))
	}
}
