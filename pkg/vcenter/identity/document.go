// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openpacific/pacific/pkg/facts"
)

// version is the one version of documents there is.
const version = 1

// together is how many machines are kept in one document, about. A thousand take 105 kB, and less than 400 kB with the
// longest names; etcd takes 1.5 MiB.
const together = 1000

// page is a document: machines that lie in one folder.
type page struct {
	Version  int      `json:"version"`
	Folder   facts.ID `json:"folder"`
	Machines []row    `json:"machines"`
}

// row is a machine. Its id is one of the folder's vCenter.
type row struct {
	ID       string `json:"id"`
	UID      string `json:"uid"`
	Name     string `json:"name"`
	Created  int64  `json:"created,omitempty"` // Unix time in seconds, 0 for unknown
	Recorded bool   `json:"recorded,omitempty"`
}

func (r row) machine(vcenter string) facts.ID {
	return facts.ID{VCenter: vcenter, Type: facts.TypeMachine, Value: r.ID}
}

func (r row) identity() facts.Identity {
	who := facts.Identity{UID: r.UID, Name: r.Name, Recorded: r.Recorded}
	if r.Created != 0 {
		who.Created = time.Unix(r.Created, 0).UTC()
	}
	return who
}

func rowOf(id facts.ID, who facts.Identity) row {
	r := row{ID: id.Value, UID: who.UID, Name: who.Name, Recorded: who.Recorded}
	if !who.Created.IsZero() {
		r.Created = who.Created.Unix()
	}
	return r
}

// decode reads a document. It refuses one that it does not understand whole.
func decode(value []byte) (*page, error) {
	p := &page{}
	if err := json.Unmarshal(value, p); err != nil {
		return nil, fmt.Errorf("decode which virtual machine is which: %w", err)
	}
	if p.Version != version {
		return nil, fmt.Errorf("what tells which virtual machine is which in folder %s has version %d, "+
			"and this program knows %d alone", p.Folder, p.Version, version)
	}
	if slices.ContainsFunc(p.Machines, func(r row) bool { return r.ID == "" || r.UID == "" || r.Name == "" }) {
		return nil, fmt.Errorf("what tells which virtual machine is which in folder %s does not tell it of one", p.Folder)
	}
	return p, nil
}

// Folders are the machines of one vCenter that are remembered in documents, each with the folder that it lay in. What
// cannot be read tells of none.
func Folders(ctx context.Context, documents Documents, vcenter string) (map[facts.ID]facts.ID, error) {
	kept, err := documents.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("read which virtual machine is which: %w", err)
	}
	folders := map[facts.ID]facts.ID{}
	for _, document := range kept {
		p, err := decode(document.Value)
		if err != nil || p.Folder.VCenter != vcenter {
			continue // Restore says so
		}
		for _, r := range p.Machines {
			folders[r.machine(vcenter)] = p.Folder
		}
	}
	return folders, nil
}

// change is what is to become of one document of a folder.
type change struct {
	folder facts.ID
	id     string
	value  []byte // nil: it goes
	gained bool   // a machine has come into the folder
}

// changes are the documents of the folders in which something changed, which count as written from now on. Those of a
// folder come in an order in which a machine that stays there is in one of them at any time: it changes to a document
// with a higher number when there come to be more of them, and to one with a lower when they become fewer. Folders that
// gained a machine come before those that only lost some, so that one that moves is in two rather than in none.
func (m *Memory) changes() []change {
	m.mu.Lock()
	rows := map[*folder][]row{}
	for _, f := range m.folders {
		if f.dirty {
			rows[f] = make([]row, 0, f.machines)
		}
	}
	for id, known := range m.machines {
		if known.folder.dirty {
			rows[known.folder] = append(rows[known.folder], rowOf(id, known.Identity))
		}
	}
	for id, others := range m.others {
		for _, known := range others {
			if known.folder.dirty {
				rows[known.folder] = append(rows[known.folder], rowOf(id, known.Identity))
			}
		}
	}
	gained := map[*folder]bool{}
	for f := range rows {
		gained[f], f.dirty, f.gained = f.gained, false, false
		if f.machines == 0 {
			delete(m.folders, f.id)
		}
	}
	m.mu.Unlock()
	var first, then []change
	for f, machines := range rows {
		for _, c := range m.documentsOf(f.id, machines) {
			if c.gained = gained[f]; c.gained {
				first = append(first, c)
			} else {
				then = append(then, c)
			}
		}
	}
	return append(first, then...)
}

// documentsOf are the documents of a folder in which these machines lie.
func (m *Memory) documentsOf(folder facts.ID, machines []row) []change {
	parts := 0
	if len(machines) > 0 {
		for parts = 1; len(machines) > parts*together; {
			parts *= 2 // so that a machine stays, or goes from the lower half to the upper
		}
	}
	pages := make([]page, parts)
	for _, machine := range machines {
		number := partOf(machine.ID, parts)
		pages[number].Machines = append(pages[number].Machines, machine)
	}
	var all []change
	for number, p := range slices.Backward(pages) {
		p.Version, p.Folder = version, folder
		slices.SortFunc(p.Machines, func(a, b row) int { return cmp.Compare(a.ID, b.ID) })
		value, err := json.Marshal(p)
		if err != nil { // of an id that vCenter does not give
			m.logger.Error(err, "Cannot write down which virtual machine is which", "folder", folder)
			return nil
		}
		all = append(all, change{folder: folder, id: documentID(folder, number), value: value})
	}
	last := parts
	for m.there(folder, last) {
		last++
	}
	for number := last - 1; number >= parts; number-- { // so that there is never a gap
		all = append(all, change{folder: folder, id: documentID(folder, number)})
	}
	return all
}

// there says whether a document is stored.
func (m *Memory) there(folder facts.ID, number int) bool {
	_, there := m.stored[documentID(folder, number)]
	return there
}

// partOf is the number of the document, of so many, that a machine is kept in.
func partOf(machine string, parts int) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(machine))
	return int(hash.Sum32() % uint32(parts))
}

// documentID is the id of a document of a folder.
func documentID(folder facts.ID, number int) string {
	return strings.TrimPrefix(folder.String(), "/") + "/" + strconv.Itoa(number)
}
