// SPDX-License-Identifier: Apache-2.0

package failure

import "errors"

// Reason is what vCenter lacks, or stands in the way there, in one word that programs can go by: it is the reason of a
// condition. An error may wrap one beside its kind. Its values are constants that implement error, as those of Kind do.
type Reason string

const (
	// MissingPrivilege: the account that is used at vCenter lacks a privilege.
	MissingPrivilege Reason = "MissingPrivilege"
	// NotLicensed: vCenter's licences do not allow it.
	NotLicensed Reason = "NotLicensed"
	// DisabledInVCenter: something in vCenter, such as a backup, has the operation disabled for now.
	DisabledInVCenter Reason = "DisabledInVCenter"
	// NameTaken: something in vCenter has the name.
	NameTaken Reason = "NameTaken"
	// DatastoreFull: there is no room for files.
	DatastoreFull Reason = "DatastoreFull"
	// FileUnavailable: a datastore, or a file on it, is not there, cannot be reached, or is in the way.
	FileUnavailable Reason = "FileUnavailable"
	// NetworkUnavailable: a network is not there, cannot be reached, or has no port left.
	NetworkUnavailable Reason = "NetworkUnavailable"
	// InsufficientResources: no host has what is asked for.
	InsufficientResources Reason = "InsufficientResources"
	// HostUnreachable: vCenter does not reach a host, or that does not answer it.
	HostUnreachable Reason = "HostUnreachable"
	// InvalidConfiguration: vCenter does not accept what is asked for.
	InvalidConfiguration Reason = "InvalidConfiguration"
	// NeedsPowerOff: it is not possible while the machine runs.
	NeedsPowerOff Reason = "NeedsPowerOff"
)

// Error returns the word.
func (r Reason) Error() string { return string(r) }

// ReasonOf returns the reason that err wraps, looking as KindOf does, or otherwise when it wraps none.
func ReasonOf(err error, otherwise string) string {
	var reason Reason
	if errors.As(err, &reason) {
		return string(reason)
	}
	return otherwise
}
