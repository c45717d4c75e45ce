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
