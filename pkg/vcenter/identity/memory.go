// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"sync"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
)

const (
	// settling is how long a change waits for others, to be written with them.
	settling = 5 * time.Second
	// resting is how long nothing is written after that, so that a namespace in which something happens all the time
	// costs two writes in a minute.
	resting = 25 * time.Second
)

// Documents is where a Memory is kept. The ids of documents are the Memory's business, and so is what is in them.
type Documents interface {
	List(ctx context.Context) (map[string]Document, error)
	// Put and Delete take the revision of the document that they replace, 0 for none. They write nothing once another
	// process writes, and return an error then.
	Put(ctx context.Context, id string, value []byte, revision int64) (int64, error)
	Delete(ctx context.Context, id string, revision int64) error
}

// Document is one state of a document.
type Document struct {
	Value    []byte
	Revision int64
}

// Memory remembers which machine is which. Its methods may be called from any goroutine.
type Memory struct {
	documents Documents
	clock     clock.Clock
	logger    klog.Logger

	mu       sync.Mutex
	machines map[facts.ID]remembered
	// others are what was read of machines in further folders: one was written as it moved. They count as much, until one
	// of them is noted.
	others  map[facts.ID][]remembered
	folders map[facts.ID]*folder
	changed chan struct{}

	// stored are the documents as they were read or written last, by id; unsure says that others may be there. They
	// belong to whoever runs Restore and then Run.
	stored map[string]stored
	unsure bool
}

// remembered is a machine, in the folder in which it is remembered.
type remembered struct {
	folder *folder
	facts.Identity
}

func (r remembered) same(o remembered) bool {
	return r.folder == o.folder && r.UID == o.UID && r.Name == o.Name && r.Recorded == o.Recorded &&
		r.Created.Equal(o.Created)
}

// folder is one that stands for a namespace.
type folder struct {
	id facts.ID
	// machines is how many are remembered in it.
	machines int
	// dirty says that something in it differs from what was written last, and gained that a machine has come into it.
	dirty, gained bool
}

type stored struct {
	revision int64
	sum      [sha256.Size]byte
}

// New makes a Memory of nothing.
func New(documents Documents, clock clock.Clock, logger klog.Logger) *Memory {
	return &Memory{
		documents: documents, clock: clock, logger: logger,
		machines: map[facts.ID]remembered{}, others: map[facts.ID][]remembered{},
		folders: map[facts.ID]*folder{}, changed: make(chan struct{}, 1),
	}
}

// Recall says who a machine was that lay in a folder.
func (m *Memory) Recall(id, folder facts.ID) (facts.Identity, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, found := m.find(id, folder)
	return known.Identity, found
}

// find returns what is remembered of a machine in a folder.
func (m *Memory) find(id, folder facts.ID) (remembered, bool) {
	if known, found := m.machines[id]; found && known.folder.id == folder {
		return known, true
	}
	for _, known := range m.others[id] {
		if known.folder.id == folder {
			return known, true
		}
	}
	return remembered{}, false
}

// Note says who a machine is and in which folder it lies now. Where it is served under no name, what is remembered of
// this very machine stays as it was; where it lies in no folder, nothing does.
func (m *Memory) Note(id, folder facts.ID, who facts.Identity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, known := m.find(id, folder)
	switch {
	case who.Name == "" && known && before.UID == who.UID:
		who = before.Identity
	case who.Name == "" || folder.IsZero():
		m.forget(id)
		return
	}
	now := remembered{folder: m.folder(folder), Identity: who}
	if known && before.same(now) && len(m.others[id]) == 0 {
		m.machines[id] = now // whose text is the inventory's own
		return
	}
	m.forget(id)
	m.machines[id] = now
	now.folder.machines++
	now.folder.gained = now.folder.gained || !known
	m.mark(now.folder)
}

// Keep forgets the machines that are not there.
func (m *Memory) Keep(there func(id facts.ID) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.machines {
		if !there(id) {
			m.forget(id)
		}
	}
}

func (m *Memory) forget(id facts.ID) {
	known, found := m.machines[id]
	if !found {
		return
	}
	for _, r := range append(m.others[id], known) {
		r.folder.machines--
		m.mark(r.folder)
	}
	delete(m.machines, id)
	delete(m.others, id)
}

func (m *Memory) folder(id facts.ID) *folder {
	f := m.folders[id]
	if f == nil {
		f = &folder{id: id}
		m.folders[id] = f
	}
	return f
}

func (m *Memory) mark(f *folder) {
	f.dirty = true
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Restore reads what was remembered of the machines of one vCenter; documents of another one are left alone. What was
// noted before counts more. It is called before Run.
func (m *Memory) Restore(ctx context.Context, vcenter string) error {
	kept, err := m.list(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	noted := maps.Clone(m.machines)
	for id, document := range kept {
		page, err := decode(document.Value)
		if err != nil {
			m.logger.Error(err, "Forgetting which virtual machine was which in one folder", "document", id)
			continue
		}
		if page.Folder.VCenter != vcenter {
			continue
		}
		f := m.folder(page.Folder)
		for _, row := range page.Machines {
			machine := row.machine(vcenter)
			if _, noted := noted[machine]; noted {
				m.mark(f) // it may lie in another folder now
				continue
			}
			m.restore(machine, remembered{folder: f, Identity: row.identity()})
		}
	}
	return nil
}

// restore takes in a machine as it was read.
func (m *Memory) restore(id facts.ID, read remembered) {
	if _, found := m.find(id, read.folder.id); found {
		m.mark(read.folder) // it is in two documents
		return
	}
	if _, found := m.machines[id]; found {
		m.others[id] = append(m.others[id], read)
	} else {
		m.machines[id] = read
	}
	read.folder.machines++
}

// list reads all documents, and takes note of their states.
func (m *Memory) list(ctx context.Context) (map[string]Document, error) {
	kept, err := m.documents.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("read which virtual machine is which: %w", err)
	}
	m.stored, m.unsure = make(map[string]stored, len(kept)), false
	for id, document := range kept {
		m.stored[id] = stored{document.Revision, sha256.Sum256(document.Value)}
	}
	return kept, nil
}

// Run writes what changes until ctx ends.
func (m *Memory) Run(ctx context.Context) error {
	for again := true; ; {
		if !again {
			select {
			case <-m.changed:
			case <-ctx.Done():
				return nil
			}
		}
		if !m.pause(ctx, settling) {
			return nil
		}
		err := m.write(ctx)
		again = err != nil
		if again {
			m.logger.Error(err, "Cannot write down which virtual machine is which, trying again")
			continue
		}
		if !m.pause(ctx, resting) {
			return nil
		}
	}
}

// pause says whether ctx still goes on afterwards.
func (m *Memory) pause(ctx context.Context, d time.Duration) bool {
	timer := m.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// write writes the documents that differ from what is stored.
func (m *Memory) write(ctx context.Context) error {
	if m.unsure {
		if _, err := m.list(ctx); err != nil {
			return err
		}
	}
	changes := m.changes()
	for i, c := range changes {
		if err := m.put(ctx, c); err != nil {
			m.failed(changes[i:])
			return fmt.Errorf("write down which virtual machine is which in folder %s: %w", c.folder, err)
		}
	}
	return nil
}

// failed has what was to be written tried again.
func (m *Memory) failed(changes []change) {
	m.unsure = true
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		f := m.folder(c.folder)
		f.gained = f.gained || c.gained
		m.mark(f)
	}
}

// put stores one document, or takes it away.
func (m *Memory) put(ctx context.Context, c change) (err error) {
	before, there := m.stored[c.id]
	if c.value == nil {
		if !there {
			return nil
		}
		if err = m.documents.Delete(ctx, c.id, before.revision); err == nil {
			delete(m.stored, c.id)
		}
		return err
	}
	next := stored{sum: sha256.Sum256(c.value)}
	if there && before.sum == next.sum {
		return nil
	}
	if next.revision, err = m.documents.Put(ctx, c.id, c.value, before.revision); err == nil {
		m.stored[c.id] = next
	}
	return err
}
