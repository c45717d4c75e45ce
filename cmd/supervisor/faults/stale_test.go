// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

const reclaimPolicy = "vsphere.openpacific.io/reclaim-policy"

// acting are the calls by which something would be done to a machine.
func acting(v *vcentertest.VCenter) map[string]int {
	done := map[string]int{}
	for method, count := range v.Calls() {
		switch method {
		case "PowerOffVM_Task", "PowerOnVM_Task", "SuspendVM_Task", "ShutdownGuest", "ReconfigVM_Task", "Destroy_Task":
			done[method] = count
		}
	}
	return done
}

// refused sends one request for a machine, and wants the answer that it may succeed later, which it returns.
func refused(t *testing.T, s *supervisortest.Supervisor, method, namespace, name, body string) string {
	t.Helper()
	config := s.Config(t)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	url := fmt.Sprintf("%s/apis/vmoperator.vmware.com/v1alpha5/namespaces/%s/virtualmachines/%s", config.Host, namespace,
		name)
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/merge-patch+json")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("%s %s: %s, Retry-After %q, %s", method, body, response.Status, response.Header.Get("Retry-After"), answer)
	}
	return string(answer)
}

// TestNothingIsDoneByAStalePicture: the inventory cannot be read any more, for its folder was renamed, while vCenter is
// well. A VI admin rescues machines which by what was known before are to be switched off and destroyed.
func TestNothingIsDoneByAStalePicture(t *testing.T) {
	f := newFaulty(t, "stale")
	f.up(t)
	defer f.down(t)
	f.ready(t)
	a := f.Admin(t)
	find := func(name string) *object.VirtualMachine {
		vm, err := a.Finder.VirtualMachine(t.Context(), "/DC0/vm/Namespaces/team-a/"+name)
		if err != nil {
			t.Fatal(err)
		}
		return vm
	}
	option := func(vm *object.VirtualMachine, key, value string) {
		a.Reconfigure(vm, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: key,
			Value: value}}})
	}
	web, dying := find("web-1"), a.Create("team-a", "dying", supervisortest.PoweredOn)
	f.Serves(t, "team-a", "db-1", "dying", "web-1")
	// The deletion of one is under way: its guest was asked to shut down, and does not.
	option(dying, "SET.guest.toolsRunningStatus", string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning))
	f.Kubectl(t, "patch", "vm", "-n", "team-a", "dying", "--type=merge", "-p", `{"spec":{"powerOffMode":"Soft"}}`)
	for _, name := range []string{"dying", "web-1"} {
		f.Kubectl(t, "annotate", "vm", "-n", "team-a", name, reclaimPolicy+"=Delete")
	}
	f.Kubectl(t, "delete", "vm", "-n", "team-a", "dying", "--wait=false")

	folder, err := a.Finder.Folder(t.Context(), "/DC0/vm/Namespaces")
	if err != nil {
		t.Fatal(err)
	}
	a.Done(folder.Rename(t.Context(), "Renamed"))
	f.Unready(t, "/readyz/inventory", "Namespaces")
	above, err := a.Finder.Folder(t.Context(), "/DC0/vm")
	if err != nil {
		t.Fatal(err)
	}
	a.Done(above.MoveInto(t.Context(), []types.ManagedObjectReference{web.Reference(), dying.Reference()}))
	for _, vm := range []*object.VirtualMachine{web, dying} {
		option(vm, facts.PauseKey, "true")
		option(vm, facts.RecordKey, "")
	}
	a.Power(dying, supervisortest.PoweredOff)

	before := acting(f.vcenter)
	refused(t, f.Supervisor, http.MethodPatch, "team-a", "web-1", `{"spec":{"powerState":"PoweredOff"}}`)
	refused(t, f.Supervisor, http.MethodPatch, "team-a", "web-1", `{"metadata":{"labels":{"a":"b"}}}`)
	refused(t, f.Supervisor, http.MethodDelete, "team-a", "web-1", "")
	a.Done(folder.Rename(t.Context(), "Namespaces"))
	f.Passes(t, "/readyz/inventory")
	f.Serves(t, "team-a", "db-1")
	if diff := cmp.Diff(before, acting(f.vcenter)); diff != "" {
		t.Errorf("calls (-before +after):\n%s", diff)
	}
	for name, vm := range map[string]*object.VirtualMachine{"web-1": web, "dying": dying} {
		props := a.Properties(vm)
		if props == nil {
			t.Fatalf("%s is gone from vCenter", name)
		}
		if got := a.Extra(vm, facts.RecordKey); got != "" {
			t.Errorf("%s has a record again: %s", name, got)
		}
	}
	if state := a.Properties(web).Runtime.PowerState; state != supervisortest.PoweredOn {
		t.Errorf("web-1 is %s", state)
	}
}

// TestNothingIsDoneBeforeTheInventoryIsWhole: each new login begins without one.
func TestNothingIsDoneBeforeTheInventoryIsWhole(t *testing.T) {
	f := newFaulty(t, "not-whole")
	f.up(t)
	defer f.down(t)
	f.ready(t)
	a := f.Admin(t)
	web, err := a.Finder.VirtualMachine(t.Context(), "/DC0/vm/Namespaces/team-a/web-1")
	if err != nil {
		t.Fatal(err)
	}
	f.Kubectl(t, "annotate", "vm", "-n", "team-a", "web-1", reclaimPolicy+"=Delete")
	f.vcenter.AddFault(vcentertest.Fault{Method: "CreateContainerView"})
	f.vcenter.TerminateSessions()
	a = f.Admin(t)
	f.Passes(t, "/readyz/vcenter")
	f.Unready(t, "/readyz/inventory")
	above, err := a.Finder.Folder(t.Context(), "/DC0/vm")
	if err != nil {
		t.Fatal(err)
	}
	a.Done(above.MoveInto(t.Context(), []types.ManagedObjectReference{web.Reference()}))
	before := acting(f.vcenter)
	refused(t, f.Supervisor, http.MethodPatch, "team-a", "web-1", `{"spec":{"powerState":"PoweredOff"}}`)
	refused(t, f.Supervisor, http.MethodPatch, "team-a", "web-1", `{"metadata":{"labels":{"a":"b"}}}`)
	refused(t, f.Supervisor, http.MethodDelete, "team-a", "web-1", "")
	f.vcenter.ClearFaults()
	f.Passes(t, "/readyz/inventory")
	f.Serves(t, "team-a", "db-1")
	if diff := cmp.Diff(before, acting(f.vcenter)); diff != "" {
		t.Errorf("calls (-before +after):\n%s", diff)
	}
	waittest.Within(t, 20*time.Second, "writes", func(ctx context.Context) error {
		_, err := f.Try(ctx, "kubectl", "label", "vm", "-n", "team-a", "db-1", "a=b", "--overwrite")
		return err
	})
	if props := a.Properties(web); props == nil || props.Runtime.PowerState != supervisortest.PoweredOn {
		t.Errorf("web-1: %+v", props)
	}
}
