// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
)

// translated is an error with its kind and a message for the one who made the
// request. It wraps the cause first, since the fault functions of govmomi look
// only at the first child.
type translated struct {
	kind    failure.Kind   // Empty: none fits.
	reason  failure.Reason // Likewise.
	message string
	cause   error
}

func (e *translated) Error() string { return e.message }

func (e *translated) Unwrap() []error {
	all := []error{e.cause}
	if e.kind != "" {
		all = append(all, e.kind)
	}
	if e.reason != "" {
		all = append(all, e.reason)
	}
	return all
}

// unavailable keeps the message of cause and makes it failure.Unavailable
// whatever it was: a caller cannot mend how this server logs in to vCenter.
func unavailable(cause error) error {
	return &translated{kind: failure.Unavailable, message: cause.Error(), cause: opaque{cause}}
}

// opaque hides the kinds in err from errors.Is, but not its faults.
type opaque struct{ err error }

func (o opaque) Error() string { return o.err.Error() }

func (o opaque) Fault() types.BaseMethodFault {
	var found types.BaseMethodFault
	eachFault(o.err, func(fault types.BaseMethodFault, _ string) bool {
		found = fault
		return true
	})
	return found
}

// Translate returns err wrapped with the failure kind that fits and with a
// message that says what to do, for everything that a call to vCenter may
// return: faults, failed tasks, broken connections, deadlines. An error that
// has a kind already, one of a context that was canceled, and nil come back as
// they are; a fault that is not in the table gets no kind.
func Translate(err error) error {
	if refusal := unsentBy(err); refusal != nil {
		return refusal
	}
	if err == nil || failure.KindOf(err) != "" {
		return err
	}
	// The first fault in the table wins: a fault's cause can be what tells.
	var known, unknown *translated
	eachFault(err, func(fault types.BaseMethodFault, message string) bool {
		if kind, text := classify(fault, message); kind != "" {
			known = &translated{kind: kind, reason: reasonOf(fault), message: text, cause: err}
			return true
		}
		if unknown == nil {
			unknown = &translated{message: describe(fault, message), cause: err}
		}
		return false
	})
	switch {
	case known != nil:
		return known
	case unknown != nil:
		return unknown
	default:
		return translateTransport(err)
	}
}

// classify is the table from vSphere faults to kinds. Particular faults come
// before those they derive from.
func classify(fault types.BaseMethodFault, message string) (failure.Kind, string) {
	said := describe(fault, message)
	switch f := fault.(type) {
	case types.BaseInvalidLogin:
		return failure.Unauthenticated, "vCenter refused the user name or password"
	case *types.NotAuthenticated:
		// Of this server's login, so nothing that the caller can mend.
		return failure.Unavailable, "the login at vCenter is gone; a new one is made, so try again"
	case *types.RestrictedVersion, types.BaseNotEnoughLicenses:
		return failure.Forbidden, "vCenter's licence does not allow this: " + said
	case types.BaseNoPermission:
		return failure.Forbidden, describeNoPermission(f.GetNoPermission())
	case *types.MethodDisabled:
		by := "another solution, often a backup"
		if f.Source != "" {
			by = f.Source
		}
		return failure.Conflict, fmt.Sprintf("vCenter has disabled this operation on the object for now, as %s wants it: %s",
			by, said)
	case *types.DisallowedChangeByService:
		return failure.Conflict, fmt.Sprintf("the service %q in vCenter does not let the object be changed: %s",
			f.ServiceName, said)

	case *types.ManagedObjectNotFound:
		return failure.NotFound, fmt.Sprintf("%s %s does not exist in vCenter (any more)", f.Obj.Type, f.Obj.Value)
	case *types.NotFound, *types.FileNotFound:
		return failure.NotFound, "vCenter does not find what the request names: " + said
	case *types.DuplicateName:
		return failure.AlreadyExists, fmt.Sprintf("the name %q is taken in vCenter by %s %s: choose another name", f.Name,
			f.Object.Type, f.Object.Value)
	case *types.AlreadyExists, *types.FileAlreadyExists:
		return failure.AlreadyExists, "it exists in vCenter already: " + said

	case *types.ConcurrentAccess:
		return failure.Conflict, "the object was changed in vCenter in the meantime: read it again and retry"
	case *types.InvalidPowerState:
		text := fmt.Sprintf("not possible while the virtual machine is %s", f.ExistingState)
		if f.RequestedState != "" {
			text += fmt.Sprintf("; it must be %s", f.RequestedState)
		}
		return failure.Conflict, text
	case *types.ToolsUnavailable:
		return failure.Conflict, "VMware Tools are not running in the guest: start them, or use an operation that does not " +
			"need them"
	case types.BaseTaskInProgress:
		return failure.Conflict, fmt.Sprintf("another task (%s) works on the object in vCenter: retry when it is done",
			f.GetTaskInProgress().Task.Value)
	case types.BaseResourceInUse:
		return failure.Conflict, "it is in use in vCenter: " + said
	case *types.FileLocked:
		return failure.Conflict, "a file is locked by another virtual machine or task: " + said
	case *types.RequestCanceled:
		return failure.Unavailable, "the task was canceled in vCenter: start it again if it is still wanted"

	case *types.NoDiskSpace:
		return failure.ResourceExhausted, fmt.Sprintf("the datastore %q is full: free space on it or choose another",
			f.Datastore)
	case types.BaseInsufficientResourcesFault:
		return failure.ResourceExhausted, "vCenter has not enough resources for this: " + said
	case *types.LimitExceeded, *types.TooManyConcurrentNativeClones, *types.OutOfBounds:
		return failure.ResourceExhausted, "a limit of vCenter is reached: " + said
	case *types.NoCompatibleHost, *types.NoCompatibleHardAffinityHost, *types.RuleViolation, *types.NoCompatibleDatastore,
		*types.ResourceNotAvailable:
		return failure.ResourceExhausted, "vCenter has no host or datastore that fits: " + said

	case types.BaseHostCommunication:
		return failure.Unavailable, "vCenter does not reach the host: bring the host back, or wait until vSphere HA moved " +
			"the virtual machine: " + said
	case types.BaseTimedout:
		return failure.Timeout, "vCenter gave up waiting: " + said
	case types.BaseHostConnectFault, *types.InvalidHostState:
		return failure.Unavailable, "vCenter cannot use the host as it is now: " + said
	case types.BaseCannotAccessVmComponent, *types.CannotAccessFile, *types.InaccessibleDatastore:
		// Before the faults that they derive from.
		return failure.Unavailable,
			"vCenter does not reach a part of the virtual machine, such as its datastore or network: " + said
	case types.BaseFileFault, types.BaseInvalidDatastore:
		return failure.Unavailable, "vCenter cannot use a file or datastore: " + said

	case types.BaseInvalidArgument:
		if property := f.GetInvalidArgument().InvalidProperty; property != "" {
			said = fmt.Sprintf("%s (%s)", said, property)
		}
		return failure.Invalid, "vCenter does not accept a value: " + said
	case *types.InvalidName:
		return failure.Invalid, fmt.Sprintf("vCenter does not accept the name %q", f.Name)
	case types.BaseVAppPropertyFault:
		// What vCenter says of it has the value, which may be a secret.
		property := f.GetVAppPropertyFault()
		return failure.Invalid, fmt.Sprintf("vCenter does not accept the value of the vApp property %q, of the type %s",
			property.Id, property.Type)
	case types.BaseVmConfigFault:
		return failure.Invalid, "vCenter does not accept the virtual machine's configuration: " + said
	case types.BaseNotSupported:
		return failure.Invalid, "vCenter does not support this here: " + said
	case types.BaseInvalidState:
		// After the faults that derive from it and say more.
		return failure.Conflict, "not possible in the object's present state: " + said
	case types.BaseCustomizationFault:
		return failure.Invalid, "vCenter does not accept the guest customization: " + said
	}
	return "", ""
}

// reasonOf is the table from vSphere faults to what a condition says of them. Particular faults come before those they
// derive from.
func reasonOf(fault types.BaseMethodFault) failure.Reason {
	switch fault.(type) {
	case types.BaseNoPermission:
		return failure.MissingPrivilege
	case types.BaseNotEnoughLicenses:
		return failure.NotLicensed
	case *types.MethodDisabled, *types.DisallowedChangeByService:
		return failure.DisabledInVCenter
	case *types.DuplicateName:
		return failure.NameTaken
	case *types.NoDiskSpace, *types.InsufficientStorageSpace:
		return failure.DatastoreFull
	case types.BaseCannotAccessNetwork:
		return failure.NetworkUnavailable
	case types.BaseCannotAccessVmComponent, types.BaseFileFault, types.BaseInvalidDatastore:
		return failure.FileUnavailable
	case types.BaseInsufficientResourcesFault, *types.NoCompatibleHost, *types.NoCompatibleHardAffinityHost,
		*types.RuleViolation:
		return failure.InsufficientResources
	case types.BaseHostCommunication, types.BaseHostConnectFault, *types.InvalidHostState, types.BaseTimedout:
		return failure.HostUnreachable
	case *types.CpuHotPlugNotSupported, *types.MemoryHotPlugNotSupported, *types.DeviceHotPlugNotSupported:
		return failure.NeedsPowerOff
	case types.BaseVmConfigFault, *types.UnsupportedGuest, *types.InvalidName, types.BaseInvalidArgument,
		types.BaseVAppPropertyFault:
		return failure.InvalidConfiguration
	}
	return ""
}

func describeNoPermission(fault *types.NoPermission) string {
	privileges := []string{}
	object := "an object"
	if fault.PrivilegeId != "" {
		privileges = append(privileges, fault.PrivilegeId)
	}
	if fault.Object != nil {
		object = fault.Object.Type + " " + fault.Object.Value
	}
	for _, missing := range fault.MissingPrivileges {
		for _, id := range missing.PrivilegeIds {
			if id != fault.PrivilegeId {
				privileges = append(privileges, id)
			}
		}
		if fault.Object == nil {
			object = missing.Entity.Type + " " + missing.Entity.Value
		}
	}
	if len(privileges) == 0 {
		return fmt.Sprintf("the account used at vCenter may not do this on %s: grant it a role there that allows it", object)
	}
	return fmt.Sprintf("the account used at vCenter lacks the privilege %s on %s: grant it a role there that holds it",
		strings.Join(privileges, ", "), object)
}

// describe says what vCenter said about a fault.
func describe(fault types.BaseMethodFault, message string) string {
	name := typeName(fault)
	if method := fault.GetMethodFault(); message == "" && method != nil {
		for _, m := range method.FaultMessage {
			if m.Message != "" {
				message = m.Message
				break
			}
		}
	}
	text := name
	if message != "" {
		text = fmt.Sprintf("%s (%s)", strings.TrimRight(strings.TrimSpace(message), "."), name)
	}
	if about := concerned(fault); about != "" && !strings.Contains(text, about) {
		text += ": " + about
	}
	return text
}

// concerned is what a fault is about, as far as its fields say so: vCenter's message often does not.
func concerned(fault types.BaseMethodFault) string {
	switch f := fault.(type) {
	case *types.GenericVmConfigFault:
		return f.Reason
	case types.BaseInvalidDeviceSpec:
		spec := f.GetInvalidDeviceSpec()
		return fmt.Sprintf("device %d of the request, %s", spec.DeviceIndex, spec.Property)
	case types.BaseInvalidVmConfig:
		return f.GetInvalidVmConfig().Property
	case *types.InvalidDatastorePath:
		return f.DatastorePath
	case types.BaseInvalidDatastore:
		return f.GetInvalidDatastore().Name
	case types.BaseFileFault:
		return f.GetFileFault().File
	}
	return ""
}

func typeName(fault types.BaseMethodFault) string {
	kind := reflect.TypeOf(fault)
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	return kind.Name()
}

func translateTransport(err error) error {
	if status := restStatus(err); status != 0 {
		return translateREST(err, status)
	}
	var (
		untrusted  x509.UnknownAuthorityError
		wrongName  x509.HostnameError
		invalid    x509.CertificateInvalidError
		unverified *tls.CertificateVerificationError
		thumbprint *thumbprintError
		network    net.Error
		request    *url.Error
	)
	unavailable := func(message string) error {
		return &translated{kind: failure.Unavailable, message: message, cause: err}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return &translated{kind: failure.Timeout, message: "vCenter did not answer in time", cause: err}
	case errors.As(err, &thumbprint):
		return unavailable("vCenter is not the one that was configured: " + thumbprint.Error() +
			"; if vCenter's certificate was replaced, configure the new thumbprint")
	case errors.As(err, &untrusted), errors.As(err, &wrongName), errors.As(err, &invalid), errors.As(err, &unverified):
		return unavailable(fmt.Sprintf("vCenter's certificate is not trusted: %v: configure the CA file that signed it, or "+
			"its SHA-256 thumbprint", innermost(err)))
	case errors.As(err, &request) && isStatus(request.Err):
		return unavailable(fmt.Sprintf("vCenter answered %v: it may be starting or overloaded", request.Err))
	case errors.As(err, &network), errors.As(err, &request), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return unavailable(fmt.Sprintf("vCenter is not reachable: %v", innermost(err)))
	case strings.HasPrefix(err.Error(), "XML syntax error"), strings.HasPrefix(err.Error(), "expected element type"):
		// The library's copy of encoding/xml; what answers is no vCenter,
		// often a proxy's page.
		return unavailable("the answer is not one of a vCenter: check the URL and what stands in between")
	}
	return err
}

// isStatus recognises the library's unexported error for an HTTP status, whose
// whole text is the status line.
func isStatus(err error) bool {
	text := err.Error()
	return len(text) > 4 && text[3] == ' ' && (text[0] == '4' || text[0] == '5') &&
		strings.Trim(text[1:3], "0123456789") == ""
}

// innermost drops the URL and method that net/http puts before its errors.
func innermost(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

// eachFault calls visit for every fault in the whole tree of err and for the
// causes within, each with vCenter's message, until visit returns true.
// govmomi's fault.As is not used since it follows only the first of several
// wrapped errors.
func eachFault(err error, visit func(fault types.BaseMethodFault, message string) bool) bool {
	if err == nil {
		return false
	}
	if holder, ok := err.(interface{ Fault() types.BaseMethodFault }); ok {
		if fault := holder.Fault(); fault != nil {
			return eachCause(fault, messageOf(err), visit)
		}
		return false
	}
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		return eachFault(wrapper.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, child := range wrapper.Unwrap() {
			if eachFault(child, visit) {
				return true
			}
		}
	}
	return false
}

func eachCause(fault types.BaseMethodFault, message string, visit func(types.BaseMethodFault, string) bool) bool {
	for range 32 { // A chain that is longer leads in a circle.
		if visit(fault, message) {
			return true
		}
		method := fault.GetMethodFault()
		if method == nil || method.FaultCause == nil || method.FaultCause.Fault == nil {
			return false
		}
		fault, message = method.FaultCause.Fault, method.FaultCause.LocalizedMessage
	}
	return false
}

// messageOf drops the code that the library puts before a SOAP fault's text,
// and the type name that it uses for lack of a text.
func messageOf(err error) string {
	text := strings.TrimPrefix(err.Error(), "ServerFaultCode: ")
	if holder, ok := err.(interface{ Fault() types.BaseMethodFault }); ok && text == typeName(holder.Fault()) {
		return ""
	}
	return text
}

func hasFault(err error) bool {
	return eachFault(err, func(types.BaseMethodFault, string) bool { return true })
}

func hasFaultOf[T any](err error) bool {
	return eachFault(err, func(fault types.BaseMethodFault, _ string) bool {
		_, ok := any(fault).(T)
		return ok
	})
}

// faultName names an error for metrics.
func faultName(err error) string {
	name := "network"
	var status httpStatus
	switch {
	case unsentBy(err) != nil:
		return "refused"
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	}
	eachFault(err, func(fault types.BaseMethodFault, _ string) bool {
		name = typeName(fault)
		return true
	})
	return name
}
