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
)

// known is a virtual machine as the Projector keeps it.
type known struct {
	ref   types.ManagedObjectReference
	props properties
	uid   k8stypes.UID

	rawMeta string
	meta    *Metadata // nil where there is none that counts
	metaErr error

	claim  claim
	choice int    // which of the claim's names it has
	key    string // the key of that name, empty while it is not served

	// object is what the mirror has under published.
	object    *vmopv1.VirtualMachine
	published string

	dirty   bool
	removed bool
}

// State is what is known of a virtual machine beyond its API object. It is a copy; what it points to must not be changed.
type State struct {
	Ref types.ManagedObjectReference
	UID k8stypes.UID
	// Key is the mirror's key, empty while the machine is not served: when it is a template, lies outside of every namespace or in a
	// detached one.
	Key string
	// Installation is the one that writes records here, Folder the folder that stands for the namespace which the machine lies in.
	Installation string
	Folder       facts.ID
	// Metadata is nil for a machine without a record that counts.
	Metadata *Metadata
	// MetadataError says why the record cannot be read, in which case it must be left alone.
	MetadataError error
	// ChangeVersion is the version of the configuration that the state was made from.
	ChangeVersion string
	PowerState    vmopv1.VirtualMachinePowerState
	// Connected says that vCenter reaches the machine.
	Connected bool
	// Paused says that the controller must leave the machine alone, by annotation or by ExtraConfig.
	Paused bool
	// Object is the API object, nil while the machine is not served.
	Object *vmopv1.VirtualMachine
}

func (m *known) state() State {
	connection := m.props.connectionState()
	s := State{
		Ref: m.ref, UID: m.uid, Key: m.published,
		Metadata: m.meta, MetadataError: m.metaErr,
		ChangeVersion: m.props.text(pathChangeVersion),
		PowerState:    m.props.powerState(),
		Connected:     connection == "" || connection == types.VirtualMachineConnectionStateConnected,
		Paused:        m.paused(),
	}
	if m.published != "" {
		s.Object = m.object
	}
	return s
}

func (m *known) paused() bool {
	return m.meta != nil && m.meta.Paused || vmoperator.Paused(nil, m.props.option(pathPause))
}

// take sets the properties. A record counts that installation has written for this very machine. vCenter reports a machine whose host is away or whose files are unreadable without its configuration; what was
// known of that before goes on being shown.
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
	m.uid, m.rawMeta, m.meta, m.metaErr = uid, raw, nil, nil
	if raw == "" {
		return
	}
	meta, err := DecodeMetadata(raw)
	switch {
	case err != nil:
		m.metaErr = err
	case strings.EqualFold(meta.UID, string(uid)) && meta.Installation == installation:
		m.meta = meta
	}
}

// overlays are the conditions that controllers have set, by uid and type.
type overlays map[k8stypes.UID]map[string]metav1.Condition
