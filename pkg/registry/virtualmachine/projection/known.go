// SPDX-License-Identifier: Apache-2.0

package projection

import (
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
)

// known is a virtual machine as the Projector keeps it.
type known struct {
	// live is what vCenter tells, and where it tells no configuration, with what is remembered of it.
	live *facts.Live
	uid  k8stypes.UID
	// recalled is what is remembered of a machine of which vCenter tells no configuration, else nil.
	recalled *facts.Identity

	meta    *Metadata // nil where there is no record that counts
	metaErr error
	// arrives says that it came into the inventory while somebody followed that, and vCenter has not told its configuration
	// since.
	arrives bool
	// void is the sequence up to which a deletion in the record does not count any more.
	void uint64

	// newest is the highest sequence that was seen of the machine's record. wentBack says that it is behind that now, and
	// nobody has decided since what is to count.
	newest   uint64
	wentBack bool

	// hardware is what the API shows of live.Hardware.
	hardware *hardwareSurvey

	claim  claim
	choice int    // which of the claim's names it has
	name   string // that name, empty while it is not served

	dirty   bool
	removed bool
}

// State is what is known of a virtual machine beyond its API object. It is a copy; what it points to must not be
// changed.
type State struct {
	facts.Machine
	// Installation is the one that writes records here.
	Installation string
	// Sequence is the highest that was seen of the machine's record.
	Sequence uint64
	// WentBack says that the record is behind that: the machine is to be left alone until somebody decides.
	WentBack bool
	// Metadata is nil for a machine without a record that counts.
	Metadata *Metadata
	// MetadataError says why the record cannot be read, in which case it must be left alone.
	MetadataError error
	// Live is all that is known of it in vCenter.
	Live *facts.Live
	// Recalled says that vCenter tells no configuration: who the machine is was told before this process began.
	Recalled bool
	// Object is the API object, nil while the machine is not served: when it is a template, lies outside of every
	// namespace or in a detached one.
	Object *vmopv1.VirtualMachine
}

// pausedBy is the value of the label that tells who paused the machine, empty for nobody.
func (m *known) pausedBy() string { return vmoperator.PausedLabel(m.live.Machine().PausedBy()) }

// take sets what is known of the machine. A record counts that installation has written for this very machine, and has
// proved to be its own.
func (m *known) take(live *facts.Live, installation string, surveys surveys) {
	before := m.live
	m.live = live
	if before == nil || before.Hardware != live.Hardware {
		m.hardware = surveys.of(live.Hardware)
	}
	uid := k8stypes.UID(live.InstanceUUID)
	if before != nil && before.Record == live.Record && uid == m.uid {
		return
	}
	if m.uid != uid {
		m.void, m.newest, m.wentBack = 0, 0, false
	}
	m.uid, m.meta, m.metaErr = uid, nil, nil
	switch record := live.Record; {
	case record == nil:
	case record.Err != nil:
		m.metaErr = record.Err
	case live.Machine().Counts(installation):
		m.meta, m.metaErr = Decode(record.Head, record.Body)
	}
	m.follow(installation)
}

// follow looks whether the record went back, as by a revert to a snapshot or a restore, or was taken away. A record that
// cannot be read, or that another installation wrote or perhaps anybody, says nothing of that.
func (m *known) follow(installation string) {
	now := m.live.Machine()
	if _, another := now.Another(installation); another || now.Doubted(installation) != "" || m.metaErr != nil {
		m.wentBack = false
		return
	}
	var sequence uint64
	if m.meta != nil {
		sequence = m.meta.Sequence
	}
	m.wentBack = sequence < m.newest
	m.newest = max(m.newest, sequence)
}
