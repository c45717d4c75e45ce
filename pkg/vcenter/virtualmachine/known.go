// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

// known is a virtual machine as the Projector keeps it.
type known struct {
	ref   types.ManagedObjectReference
	props properties
	uid   k8stypes.UID

	rawMeta string
	// head is that of the record, whether it counts or not; headErr says why it cannot be read.
	head    *facts.Head
	headErr error
	meta    *Metadata // nil where there is none that counts
	metaErr error
	// overlay are the conditions that controllers have set, by type.
	overlay map[string]metav1.Condition
	// void is the sequence up to which a deletion in the record does not count any more.
	void uint64

	claim  claim
	choice int    // which of the claim's names it has
	key    string // the key of that name, empty while it is not served

	// object is what the mirror has under published.
	object    *vmopv1.VirtualMachine
	published string

	dirty   bool
	removed bool
}

// State is what is known of a virtual machine beyond its API object. It is a copy; what it points to must not be
// changed.
type State struct {
	facts.Machine
	// Key is the mirror's key, empty while the machine is not served: when it is a template, lies outside of every
	// namespace or in a detached one.
	Key string
	// Installation is the one that writes records here.
	Installation string
	// Metadata is nil for a machine without a record that counts.
	Metadata *Metadata
	// MetadataError says why the record cannot be read, in which case it must be left alone.
	MetadataError error
	// Object is the API object, nil while the machine is not served.
	Object *vmopv1.VirtualMachine
}

// Ref names the machine to vCenter.
func (s State) Ref() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: s.ID.Type, Value: s.ID.Value}
}

// facts are what vCenter had of the machine when it was heard of last, but for where it lies.
func (m *known) facts(vcenter string) facts.Machine {
	template, _ := m.props.bool(pathTemplate)
	connection := m.props.connectionState()
	return facts.Machine{
		ID:   facts.ID{VCenter: vcenter, Type: m.ref.Type, Value: m.ref.Value},
		Name: m.props.text(pathName), InstanceUUID: string(m.uid), Template: template,
		PauseOption: m.props.option(pathPause), Head: m.head, HeadError: m.headErr,
		PowerState:    string(m.props.livePowerState()),
		Connected:     connection == "" || connection == types.VirtualMachineConnectionStateConnected,
		ToolsRunning:  m.props.text(pathToolsRunning) == string(types.VirtualMachineToolsRunningStatusGuestToolsRunning),
		ChangeVersion: m.props.text(pathChangeVersion),
	}
}

// pausedBy is the value of the label that tells who paused the machine, empty for nobody.
func (m *known) pausedBy() string {
	known := facts.Machine{InstanceUUID: string(m.uid), Head: m.head, PauseOption: m.props.option(pathPause)}
	return vmoperator.PausedLabel(known.PausedBy())
}

// take sets the properties. A record counts that installation has written for this very machine. vCenter reports a
// machine whose host is away or whose files are unreadable without its configuration; what was known of that before
// goes on being shown.
func (m *known) take(props properties, installation string) {
	if m.props.text(pathInstanceUUID) != "" && props.text(pathInstanceUUID) == "" {
		merged := make(properties, len(m.props))
		for path, value := range m.props {
			if strings.HasPrefix(path, "config.") {
				merged[path] = value
			}
		}
		for path, value := range props {
			merged[path] = value
		}
		props = merged
	}
	m.props = props
	uid := k8stypes.UID(props.text(pathInstanceUUID))
	raw := props.option(pathMetadata)
	if raw == m.rawMeta && uid == m.uid {
		return
	}
	if m.uid != uid {
		m.overlay, m.void = nil, 0
	}
	m.uid, m.rawMeta = uid, raw
	m.head, m.headErr, m.meta, m.metaErr = nil, nil, nil, nil
	if raw == "" {
		return
	}
	head, body, err := machine.DecodeRecord(raw)
	if err != nil {
		m.headErr, m.metaErr = err, err
		return
	}
	m.head = &head
	if !(facts.Machine{InstanceUUID: string(uid), Head: &head}).Counts(installation) {
		return
	}
	m.meta, m.metaErr = decodeBody(head, body)
}
