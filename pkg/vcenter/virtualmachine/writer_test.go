// SPDX-License-Identifier: Apache-2.0

package virtualmachine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/virtualmachine"
)

// notReigning is a reign that is over.
type notReigning struct{}

func (notReigning) Holds() error                  { return errors.New("another replica leads") }
func (notReigning) Confirm(context.Context) error { return errors.New("another replica leads") }

// Whoever does not lead, or does not know what is there now, leaves vCenter alone.
func TestNothingIsDoneWithoutAReignOrAnInventory(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := serve(t, v)
	current := s.get("team-a/web-1")
	desired := current.DeepCopy()
	desired.Labels = map[string]string{"app": "web"}
	ref := state(t, s, "team-a/web-1").Ref
	for name, writer := range map[string]*vcenter.Writer{
		"no reign":     {Session: s.session, Reign: notReigning{}, Following: vcentertest.Following},
		"no inventory": {Session: s.session, Reign: vcentertest.Reign{}, Following: func() error { return errors.New("the namespaces folder was renamed") }},
	} {
		s.backend.Writer = writer
		power := &virtualmachine.Power{Session: s.session, Writer: writer}
		verbs := map[string]func() error{
			"update": func() error { return s.backend.Update(t.Context(), "/virtualmachines/team-a/web-1", current, desired) },
			"delete": func() error { return s.backend.Delete(t.Context(), "/virtualmachines/team-a/web-1", current) },
		}
		for _, target := range []vmopv1.VirtualMachinePowerState{vmopv1.VirtualMachinePowerStateOff, vmopv1.VirtualMachinePowerStateSuspended} {
			for _, mode := range []vmopv1.VirtualMachinePowerOpMode{vmopv1.VirtualMachinePowerOpModeHard, vmopv1.VirtualMachinePowerOpModeSoft, vmopv1.VirtualMachinePowerOpModeTrySoft} {
				verbs[string(target)+" "+string(mode)] = func() error {
					_, err := power.Set(t.Context(), ref, target, mode, time.Time{})
					return err
				}
			}
		}
		for verb, act := range verbs {
			before := v.Calls()
			if err := act(); !errors.Is(err, failure.Unavailable) {
				t.Errorf("%s with %s: %v", verb, name, err)
			}
			after := v.Calls()
			delete(before, "WaitForUpdatesEx") // the inventory goes on
			delete(after, "WaitForUpdatesEx")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s with %s called vCenter (-before +after):\n%s", verb, name, diff)
			}
		}
	}
}
