// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
)

// newFiles are those that were not there before.
func newFiles(before, after []string) []string {
	var added []string
	for _, file := range after {
		if !slices.Contains(before, file) {
			added = append(added, file)
		}
	}
	return added
}

// TestShapes has a machine created in every way in which that can go wrong.
func TestShapes(t *testing.T) {
	const made = "/datastore-1/new"
	tests := map[string]struct {
		rule fault.Rule
		// what the client sees, and what is there afterwards
		want    string
		machine bool
		files   []string
	}{
		"refused": {fault.Rule{Shape: fault.Refused, Fault: &types.InsufficientResourcesFault{}},
			"InsufficientResourcesFault", false, nil},
		"task fails":   {fault.Rule{Shape: fault.TaskFails, Fault: &types.NoDiskSpace{}}, "task: NoDiskSpace", false, nil},
		"without name": {fault.Rule{Shape: fault.TaskFails}, "task: SystemError", false, nil},
		"halfway": {fault.Rule{Shape: fault.TaskFailsHalfway, Fault: &types.HostCommunication{}}, "task: HostCommunication",
			false,
			[]string{made, made + "/new.nvram", made + "/new.vmx"}},
		"no answer": {fault.Rule{Shape: fault.NoAnswer}, "EOF", false, nil},
		"answer lost": {fault.Rule{Shape: fault.AnswerLost}, "EOF", true,
			[]string{made, made + "/new.nvram", made + "/new.vmx", made + "/vmware.log"}},
		"slow": {fault.Rule{Shape: fault.Slow, Delay: time.Millisecond}, "nothing", true,
			[]string{made, made + "/new.nvram", made + "/new.vmx", made + "/vmware.log"}},
		"slow, and fails": {fault.Rule{Shape: fault.Slow, Delay: time.Millisecond, Fault: &types.Timedout{}},
			"task: Timedout", false, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := Run(t, Options{})
			i := inventoryOf(t, v)
			folder, pool := i.folder(namespaces+"/team-a"), i.pool()
			machines, files := machineNames(i), v.onDisk(t)
			fired := 0
			test.rule.Method, test.rule.Count, test.rule.Then = "CreateVM_Task", 1, func() { fired++ }
			v.AddFault(test.rule)
			task, err := folder.CreateVM(t.Context(), with(), pool, nil)
			got := ""
			if err == nil {
				_, err = task.WaitForResult(t.Context())
				if err != nil {
					got = "task: "
				}
			}
			if errors.Is(err, io.EOF) || err != nil && strings.HasSuffix(err.Error(), "EOF") {
				got = "EOF"
			} else {
				got += kindOf(err)
			}
			if got != test.want || fired != 1 {
				t.Errorf("the client gets %q, want %q; the rule fired %d times", got, test.want, fired)
			}
			if there := len(machineNames(i)) > len(machines); there != test.machine {
				t.Errorf("the machine is there: %v", there)
			}
			if diff := cmp.Diff(test.files, newFiles(files, v.onDisk(t))); diff != "" {
				t.Errorf("files that are left (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLeftovers: what a task has done of its work when it fails stays.
func TestLeftovers(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := t.Context()
	db := i.vm("db-1")
	before := v.onDisk(t)
	v.AddFault(fault.Rule{Method: "ReconfigVM_Task", Shape: fault.TaskFailsHalfway, Fault: &types.HostCommunication{},
		Count: 1})
	unit, disk := int32(3), diskAt("").(*types.VirtualDisk)
	disk.UnitNumber, disk.ControllerKey = &unit, 1000
	_, err := i.try(db.Reconfigure(ctx, types.VirtualMachineConfigSpec{NumCPUs: 16,
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{
			&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd,
				FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate, Device: disk},
		}}))
	refused[*types.HostCommunication](t, err)
	if cpus := i.read(db).Config.Hardware.NumCPU; cpus == 16 {
		t.Error("a change that failed has changed the machine")
	}
	want := []string{"/datastore-1/db-1/db-1_0-flat.vmdk", "/datastore-1/db-1/db-1_0.vmdk"}
	if diff := cmp.Diff(want, newFiles(before, v.onDisk(t))); diff != "" {
		t.Errorf("files after a reconfiguration (-want +got):\n%s", diff)
	}

	before = v.onDisk(t)
	v.AddFault(fault.Rule{Method: "Destroy_Task", Shape: fault.TaskFailsHalfway, Fault: &types.HostCommunication{},
		Count: 1})
	_, err = i.try(db.Destroy(ctx))
	refused[*types.HostCommunication](t, err)
	if slices.Contains(machineNames(i), namespaces+"/team-a/db-1") {
		t.Error("a machine that was half destroyed is in the inventory")
	}
	if diff := cmp.Diff(before, v.onDisk(t)); diff != "" {
		t.Errorf("files after half a destruction (-want +got):\n%s", diff)
	}
}

// TestSessionEnds: the session of whoever called is over, and no other.
func TestSessionEnds(t *testing.T) {
	v := Run(t, Options{})
	i, other := inventoryOf(t, v), login(t, v)
	web := i.vm("web-1")
	v.AddFault(fault.Rule{Method: "PowerOffVM_Task", Shape: fault.SessionEnds, Count: 1})
	if _, err := web.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := methods.GetCurrentTime(t.Context(), i.client)
	refused[*types.NotAuthenticated](t, err)
	var props mo.VirtualMachine
	if err := property.DefaultCollector(other.Client).RetrieveOne(t.Context(), web.Reference(),
		[]string{"runtime.powerState"}, &props); err != nil {
		t.Fatal(err)
	}
	if state := props.Runtime.PowerState; state != types.VirtualMachinePowerStatePoweredOff {
		t.Errorf("the machine is %s", state)
	}
}

// TestEachCall breaks off a scenario at each of its calls, one after the other.
func TestEachCall(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := t.Context()
	folder, pool := i.folder(namespaces+"/team-a"), i.pool()
	scenario := func(name string) error {
		spec := with()
		spec.Name = name
		info, err := i.try(folder.CreateVM(ctx, spec, pool, nil))
		if err != nil {
			return err
		}
		vm := i.made(info)
		for _, step := range []func() (*object.Task, error){
			func() (*object.Task, error) { return vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{NumCPUs: 2}) },
			func() (*object.Task, error) { return vm.PowerOn(ctx) },
		} {
			if _, err := i.try(step()); err != nil {
				return err
			}
		}
		return nil
	}
	recording := v.Record()
	if err := scenario("whole"); err != nil {
		t.Fatal(err)
	}
	recording.Stop()
	steps := []string{"CreateVM_Task", "ReconfigVM_Task", "PowerOnVM_Task"}
	if diff := cmp.Diff(steps, recording.Changes()); diff != "" {
		t.Fatalf("calls that change something (-want +got):\n%s", diff)
	}
	if all := recording.Calls(); len(all) <= len(steps) || all[0] != "CreateVM_Task" {
		t.Errorf("all calls: %q", all)
	}
	if got := recording.Counts()["PowerOnVM_Task"]; got != 1 {
		t.Errorf("it was powered on %d times", got)
	}
	for n := range steps {
		broken := v.Record()
		v.AddFault(fault.Rule{Method: fault.Changing, Nth: n + 1, Shape: fault.AnswerLost})
		if err := scenario("broken-off-" + steps[n][:6]); err == nil {
			t.Errorf("the answer of %s was lost, and nobody noticed", steps[n])
		}
		if diff := cmp.Diff(steps[:n+1], broken.Changes()); diff != "" {
			t.Errorf("calls until then (-want +got):\n%s", diff)
		}
		broken.Stop()
		v.ClearFaults()
	}
}

// TestRESTFaults: rules count for the REST endpoints too.
func TestRESTFaults(t *testing.T) {
	v := Run(t, Options{})
	i, ctx := inventoryOf(t, v), t.Context()
	c := rest.NewClient(i.client.Client)
	datastore, err := i.finder.Datastore(ctx, "datastore-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Login(ctx, url.UserPassword(v.Username(), v.Password())); err != nil {
		t.Fatal(err)
	}
	manager := library.NewManager(c)
	const method = "POST /com/vmware/content/local-library"
	create := func(name string) error {
		_, err := manager.CreateLibrary(ctx, library.Library{Name: name, Type: "LOCAL", Storage: []library.StorageBacking{
			{DatastoreID: datastore.Reference().Value, Type: "DATASTORE"},
		}})
		return err
	}
	libraries := func() int {
		t.Helper()
		all, err := manager.ListLibraries(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	recording := v.Record()
	if err := create("a"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{method}, recording.Changes()); diff != "" {
		t.Errorf("calls that change something (-want +got):\n%s", diff)
	}
	for n, test := range []struct {
		shape     fault.Shape
		libraries int
	}{{fault.Refused, 1}, {fault.NoAnswer, 1}, {fault.AnswerLost, 2}} {
		v.AddFault(fault.Rule{Method: method, Shape: test.shape, Count: 1})
		if err := create("b" + string(rune('0'+n))); err == nil {
			t.Errorf("shape %d: it succeeds", test.shape)
		}
		if got := libraries(); got != test.libraries {
			t.Errorf("shape %d: there are %d libraries, want %d", test.shape, got, test.libraries)
		}
		v.ClearFaults()
	}
	v.AddFault(fault.Rule{Method: method, Shape: fault.SessionEnds, Count: 1})
	if err := create("c"); err != nil {
		t.Error(err)
	}
	if _, err := manager.ListLibraries(ctx); err == nil {
		t.Error("the session outlives its end")
	}
}
