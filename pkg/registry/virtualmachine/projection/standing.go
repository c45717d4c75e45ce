// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"fmt"
	"strings"
	"time"

	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/facts"
)

// A record travels with its machine, and what it asks for was asked for in one place: owners are looked up by the
// namespace's name, somebody else's finalizers stand for what he has there, and a deletion was allowed and asked for
// there. So each of them counts there alone. The place is told by the folder's id: a folder that is renamed is still
// the same. A record that went back, as with a snapshot, was written at another time: neither a deletion nor owners in
// it count, and controllers leave the machine alone, until somebody writes to it and so decides by what is shown.

// standing is what of a record counts where its machine lies.
type standing struct {
	// meta is the record without what does not count, nil without a record.
	meta *Metadata
	// aside names what does not count, for people to read.
	aside []string
}

// standing says what of a machine's record counts where it lies.
func (m *known) standing() standing {
	if m.meta == nil {
		return standing{}
	}
	place := m.live.Place
	home := m.meta.Folder == place.Folder
	counts := *m.meta
	var aside []string
	if !counts.Deletion.IsZero() && (!home || m.void >= counts.Sequence || m.wentBack) {
		aside = append(aside, "the deletion that was asked for at "+counts.Deletion.Format(time.RFC3339))
		counts.Deletion = time.Time{}
	}
	if counts.Deletion.IsZero() {
		counts.DeletionGracePeriodSeconds = nil
	}
	if len(counts.OwnerReferences) > 0 && (counts.Namespace != place.Namespace || m.wentBack) {
		owners := make([]string, len(counts.OwnerReferences))
		for i, owner := range counts.OwnerReferences {
			owners[i] = owner.Kind + " " + owner.Name
		}
		aside = append(aside, "the ownerReferences to "+strings.Join(owners, ", "))
		counts.OwnerReferences = nil
	}
	if len(counts.Finalizers) > 0 && !home {
		aside = append(aside, "the finalizers "+strings.Join(counts.Finalizers, ", "))
		counts.Finalizers = nil
	}
	return standing{meta: &counts, aside: aside}
}

// asideText says what of a record does not count, and what becomes of it.
func asideText(meta *Metadata, aside []string) string {
	return fmt.Sprintf("the record in the virtual machine was written when it was %s/%s; "+
		"of it %s does not count here, and is dropped with the next write", meta.Namespace, meta.Name,
		strings.Join(aside, ", nor "))
}

// void notes that the deletion in a machine's record does not count any more, not even when the machine comes back to
// where it was asked for, and has it taken out of the record. Only a later deletion will count.
func (p *Projector) voidDeletion(m *known) {
	m.void = max(m.void, m.meta.Sequence)
	id := m.live.ID
	if known, found := p.withdrawn[id]; found && known.Equal(m.meta.Head) {
		return
	}
	p.withdrawn[id] = m.meta.Head
	poke(p.withdrawals)
}

// settleDeletion looks whether the deletion in a machine's record still counts. One that is asked for in a machine that
// lies elsewhere, is hidden, or has become a template, is over. That its folder waits for a name says nothing of that.
func (p *Projector) settleDeletion(m *known) {
	id := m.live.ID
	switch {
	case m.meta == nil || m.meta.Deletion.IsZero():
		delete(p.withdrawn, id)
	case m.live.Template && !m.removed:
		// Its record cannot be changed until it is a machine again.
		m.void = max(m.void, m.meta.Sequence)
		delete(p.withdrawn, id)
	case m.wentBack && !m.removed:
		// It was asked for at another time. What is to count is for somebody to decide.
		m.void = max(m.void, m.meta.Sequence)
		delete(p.withdrawn, id)
	case m.void >= m.meta.Sequence || m.removed || !m.home():
		p.voidDeletion(m)
	default:
		delete(p.withdrawn, id)
	}
}

// home says whether a machine lies, not hidden, in the folder that its record was written in.
func (m *known) home() bool {
	place := m.live.Place
	return place.Folder == m.meta.Folder && (!place.Detached || m.meta.Created)
}

// Withdraw ends the deletion of the machine that is served under a name, if it is the one of that uid: it does not
// count any more.
func (p *Projector) Withdraw(namespace, name string, uid k8stypes.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.served(namespace, name, uid)
	if m == nil || m.meta == nil || m.meta.Deletion.IsZero() {
		return
	}
	p.voidDeletion(m)
	p.mark(m)
	p.publish()
}

// Withdrawn are the machines in whose records there is a deletion that does not count any more, with the heads of those
// records: also of machines that have left the inventory. They are listed until the record says so, or Forget is
// called.
func (p *Projector) Withdrawn() map[facts.ID]facts.Head {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make(map[facts.ID]facts.Head, len(p.withdrawn))
	for id, head := range p.withdrawn {
		list[id] = head
	}
	return list
}

// Withdrawals yields after something was added to Withdrawn. Several may come as one.
func (p *Projector) Withdrawals() <-chan struct{} { return p.withdrawals }

// Forget takes a machine off the list of Withdrawn: it is gone from vCenter, or cannot be reached.
func (p *Projector) Forget(id facts.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.withdrawn, id)
}
