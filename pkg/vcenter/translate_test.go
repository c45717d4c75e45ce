// SPDX-License-Identifier: Apache-2.0

package vcenter_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

func soapFault(message string, detail any) error {
	f := &soap.Fault{Code: "ServerFaultCode", String: message}
	f.Detail.Fault = detail
	return soap.WrapSoapFault(f)
}

func TestTranslate(t *testing.T) {
	vm := types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-12"}
	vim := soap.WrapVimFault
	tests := []struct {
		name string
		err  error
		want failure.Kind
		says string
	}{
		{"login", soapFault("Login failure", types.InvalidLogin{}), failure.Unauthenticated,
			"refused the user name or password"},
		{"locale derives from login", vim(&types.InvalidLocale{}), "", "InvalidLocale"},
		{"not authenticated", soapFault("", types.NotAuthenticated{}), failure.Unavailable, "a new one is made"},
		{"no permission", vim(&types.NoPermission{Object: &vm, PrivilegeId: "VirtualMachine.Interact.PowerOn"}),
			failure.Forbidden, "lacks the privilege VirtualMachine.Interact.PowerOn on VirtualMachine vm-12"},
		{"no permissions", vim(&types.NoPermission{MissingPrivileges: []types.NoPermissionEntityPrivileges{
			{Entity: vm, PrivilegeIds: []string{"a", "b"}}}}), failure.Forbidden, "the privilege a, b on VirtualMachine vm-12"},
		{"gone", vim(&types.ManagedObjectNotFound{Obj: vm}), failure.NotFound, "VirtualMachine vm-12 does not exist"},
		{"file", vim(&types.FileNotFound{FileFault: types.FileFault{File: "[ds] x"}}), failure.NotFound, "FileNotFound"},
		{"name", vim(&types.DuplicateName{Name: "web", Object: vm}), failure.AlreadyExists, `the name "web" is taken`},
		{"concurrent", vim(&types.ConcurrentAccess{}), failure.Conflict, "read it again and retry"},
		{"power", vim(&types.InvalidPowerState{ExistingState: "poweredOn", RequestedState: "poweredOff"}), failure.Conflict,
			"is poweredOn; it must be poweredOff"},
		{"state", vim(&types.InvalidState{}), failure.Conflict, "present state"},
		{"tools", vim(&types.ToolsUnavailable{}), failure.Conflict, "VMware Tools"},
		{"task", vim(&types.TaskInProgress{Task: types.ManagedObjectReference{Type: "Task", Value: "task-1"}}),
			failure.Conflict, "task-1"},
		{"locked", vim(&types.FileLocked{}), failure.Conflict, "locked"},
		{"in use", vim(&types.ResourceInUse{Name: "x"}), failure.Conflict, "in use"},
		{"rule", vim(&types.RuleViolation{}), failure.ResourceExhausted, "no host or datastore that fits"},
		{"licence", vim(&types.LicenseExpired{}), failure.Forbidden, "licence"},
		{"disabled", vim(&types.MethodDisabled{Source: "com.example.backup"}), failure.Conflict, "as com.example.backup wants it"},
		{"service", vim(&types.DisallowedChangeByService{ServiceName: "hbr"}), failure.Conflict, `the service "hbr"`},
		{"host state", vim(&types.InvalidHostState{}), failure.Unavailable, "cannot use the host"},
		{"file of vSAN", vim(&types.CannotCreateFile{FileFault: types.FileFault{File: "[vsan] web"}}), failure.Unavailable,
			"CannotCreateFile: [vsan] web"},
		{"generic", vim(&types.GenericVmConfigFault{Reason: "no TPM"}), failure.Invalid, "GenericVmConfigFault: no TPM"},
		{"property", vim(&types.InvalidVmConfig{Property: "configSpec.guestId"}), failure.Invalid, "configSpec.guestId"},
		{"which device", vim(&types.InvalidDeviceSpec{DeviceIndex: 2, InvalidVmConfig: types.InvalidVmConfig{
			Property: "backing"}}), failure.Invalid, "device 2 of the request, backing"},
		{"canceled task", vim(&types.RequestCanceled{}), failure.Unavailable, "canceled in vCenter"},
		{"memory", vim(&types.InsufficientMemoryResourcesFault{}), failure.ResourceExhausted, "not enough resources"},
		{"storage", vim(&types.InsufficientStorageSpace{}), failure.ResourceExhausted, "not enough resources"},
		{"disk", vim(&types.NoDiskSpace{Datastore: "ds"}), failure.ResourceExhausted, `the datastore "ds" is full`},
		{"argument", vim(&types.InvalidArgument{InvalidProperty: "spec.x"}), failure.Invalid, "spec.x"},
		{"host", vim(&types.HostNotConnected{}), failure.Unavailable, "does not reach the host"},
		{"inaccessible", vim(&types.CannotAccessFile{}), failure.Unavailable, "CannotAccessFile"},
		{"config", vim(&types.VmConfigFault{}), failure.Invalid, "configuration"},
		{"device", vim(&types.InvalidDeviceSpec{}), failure.Invalid, "InvalidDeviceSpec"},
		{"cause tells", vim(&types.SystemError{RuntimeFault: types.RuntimeFault{
			MethodFault: types.MethodFault{FaultCause: &types.LocalizedMethodFault{
				Fault: &types.NoDiskSpace{Datastore: "ds"}}}}}), failure.ResourceExhausted, "ds"},
		{"task's error", task.Error{LocalizedMethodFault: &types.LocalizedMethodFault{Fault: &types.NotSupported{},
			LocalizedMessage: "It is not so."}}, failure.Invalid, "It is not so (NotSupported)"},
		{"unknown", soapFault("A general error.", types.SystemError{}), "", "A general error (SystemError)"},
		{"second of two", errors.Join(errors.New("first"), vim(&types.ConcurrentAccess{})), failure.Conflict,
			"read it again"},
		{"deadline", &url.Error{Op: "Post", URL: "/sdk", Err: context.DeadlineExceeded}, failure.Timeout,
			"did not answer in time"},
		{"refused", &url.Error{Op: "Post", URL: "https://vc/sdk",
			Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}, failure.Unavailable,
			"vCenter is not reachable: dial: connection refused"},
		{"cut off", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), failure.Unavailable, "not reachable"},
		{"status", &url.Error{Op: "POST", URL: "/sdk", Err: errors.New("503 Service Unavailable")}, failure.Unavailable,
			"answered 503 Service Unavailable"},
		{"untrusted", &url.Error{Op: "Post", URL: "/sdk", Err: x509.UnknownAuthorityError{}}, failure.Unavailable,
			"configure the CA file"},
		{"canceled", context.Canceled, "", "context canceled"},
		{"other", errors.New("other"), "", "other"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wrapped := fmt.Errorf("power on: %w", test.err)
			got := vcenter.Translate(wrapped)
			if kind := failure.KindOf(got); kind != test.want {
				t.Errorf("kind = %q, want %q (%v)", kind, test.want, got)
			}
			if !strings.Contains(got.Error(), test.says) {
				t.Errorf("Translate() says %q, want %q", got, test.says)
			}
			if !errors.Is(got, test.err) && !strings.Contains(fmt.Sprintf("%T", test.err), "task.Error") {
				t.Errorf("Translate() does not wrap its cause")
			}
			if again := vcenter.Translate(got); test.want != "" && again != got {
				t.Errorf("Translate() twice = %v", again)
			}
		})
	}
	if err := vcenter.Translate(nil); err != nil {
		t.Errorf("Translate(nil) = %v", err)
	}
}

// TestReasons: each fault that a condition tells of has a word for programs.
func TestReasons(t *testing.T) {
	for reason, faults := range map[failure.Reason][]types.BaseMethodFault{
		failure.MissingPrivilege:  {&types.NoPermission{}},
		failure.NotLicensed:       {&types.NotEnoughLicenses{}, &types.LicenseExpired{}},
		failure.DisabledInVCenter: {&types.MethodDisabled{}, &types.DisallowedChangeByService{}},
		failure.NameTaken:         {&types.DuplicateName{}},
		failure.DatastoreFull:     {&types.NoDiskSpace{}, &types.InsufficientStorageSpace{}},
		failure.FileUnavailable: {&types.InvalidDatastore{}, &types.InvalidDatastorePath{}, &types.InaccessibleDatastore{},
			&types.CannotAccessFile{}, &types.FileNotFound{}, &types.FileLocked{}, &types.FileAlreadyExists{},
			&types.CannotCreateFile{}},
		failure.NetworkUnavailable: {&types.CannotAccessNetwork{}, &types.DestinationSwitchFull{}},
		failure.InvalidConfiguration: {&types.InvalidDeviceSpec{}, &types.InvalidDeviceBacking{},
			&types.DeviceUnsupportedForVmPlatform{}, &types.InvalidController{}, &types.TooManyDevices{},
			&types.InvalidVmConfig{}, &types.VmConfigFault{}, &types.GenericVmConfigFault{}, &types.UnsupportedGuest{}},
		failure.NeedsPowerOff: {&types.CpuHotPlugNotSupported{}, &types.MemoryHotPlugNotSupported{},
			&types.DeviceHotPlugNotSupported{}},
		failure.InsufficientResources: {&types.InsufficientResourcesFault{}, &types.InsufficientCpuResourcesFault{},
			&types.InsufficientMemoryResourcesFault{}, &types.NoCompatibleHost{}, &types.NoCompatibleHardAffinityHost{},
			&types.RuleViolation{}},
		failure.HostUnreachable: {&types.HostNotConnected{}, &types.HostCommunication{}, &types.HostConnectFault{},
			&types.InvalidHostState{}, &types.Timedout{}},
		"": {&types.InvalidState{}, &types.InvalidPowerState{}, &types.TaskInProgress{}, &types.ConcurrentAccess{},
			&types.RequestCanceled{}, &types.SystemError{}},
	} {
		for _, fault := range faults {
			err := vcenter.Translate(fmt.Errorf("power on: %w", soap.WrapVimFault(fault)))
			if got := failure.ReasonOf(err, ""); got != string(reason) {
				t.Errorf("%T is %q, want %q", fault, got, reason)
			}
			if err != nil && strings.Contains(err.Error(), "ServerFaultCode") {
				t.Errorf("%T has SOAP's text: %v", fault, err)
			}
		}
	}
}

func TestTranslatedFaultsStayVisible(t *testing.T) {
	err := vcenter.Translate(soap.WrapVimFault(&types.DuplicateName{Name: "web"}))
	var duplicate *types.DuplicateName
	if _, ok := fault.As(err, &duplicate); !ok || duplicate.Name != "web" {
		t.Errorf("fault.As() does not find the fault in %#v", err)
	}
}

// TestPropertyValuesAreNotTold: the value of a vApp property may be a secret, and vCenter has it in what it says.
func TestPropertyValuesAreNotTold(t *testing.T) {
	fault := &types.InvalidPropertyValue{VAppPropertyFault: types.VAppPropertyFault{Id: "port", Type: "int", Value: "hush"}}
	err := vcenter.Translate(task.Error{LocalizedMethodFault: &types.LocalizedMethodFault{Fault: fault,
		LocalizedMessage: "Property 'port' cannot have the value 'hush'."}})
	const want = `vCenter does not accept the value of the vApp property "port", of the type int`
	if !errors.Is(err, failure.Invalid) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
