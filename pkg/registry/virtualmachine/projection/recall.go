// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"fmt"
	"strings"

	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// vCenter tells no configuration of a machine that it cannot reach. What it told before stays as long as the process
// runs; of a machine of which it never told any, this process remembers who it was when another one was told. Such a
// machine is served with that and with what vCenter tells, so that nobody takes it for gone, and nothing is done to it.

// Memory remembers which machine is which; identity.Memory does.
type Memory interface {
	// Recall says who a machine was that lay in a folder.
	Recall(id, folder facts.ID) (facts.Identity, bool)
	// Note says who a machine is and in which folder it lies now: in none, it is not to be remembered.
	Note(id, folder facts.ID, who facts.Identity)
	// Keep forgets the machines that are not there.
	Keep(there func(id facts.ID) bool)
}

// forgetful remembers nothing.
type forgetful struct{}

func (forgetful) Recall(facts.ID, facts.ID) (facts.Identity, bool) { return facts.Identity{}, false }
func (forgetful) Note(facts.ID, facts.ID, facts.Identity)          {}
func (forgetful) Keep(func(facts.ID) bool)                         {}

// Remind looks again at the machines of which vCenter tells no configuration: the memory has become what was read.
func (p *Projector) Remind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.machines {
		if m.uid == "" {
			p.look(m, m.live)
			p.mark(m)
		}
	}
	p.publish()
	if p.synced {
		p.keep()
	}
}

// look takes in what is known of a machine: from vCenter, and where that tells no configuration, from memory.
func (p *Projector) look(m *known, live *facts.Live) {
	if live.InstanceUUID != "" {
		m.recalled = nil
	} else if m.recalled == nil {
		if who, found := p.memory.Recall(live.ID, live.Place.Folder); found {
			m.recalled = &who
		}
	}
	if m.recalled != nil {
		filled := *live
		filled.InstanceUUID, filled.Created = m.recalled.UID, m.recalled.Created
		live = &filled
	}
	m.take(live, p.installation, p.surveys)
}

// hidden says whether a machine stays in vCenter unserved, with its detached folder. One that Pacific made is to be
// destroyed first, and its Namespace waits for that; so it does for one of which vCenter does not tell who made it.
func (m *known) hidden() bool {
	return m.live.Place.Detached && m.recalled == nil && (m.meta == nil || !m.meta.Created)
}

// renamed says whether a machine that is served from memory is called otherwise by now, and so would have another name.
// Of one that has a record, that does not decide. In place of a name vCenter may tell a path, in which there is a "/".
func (m *known) renamed() bool {
	who, live := m.recalled, m.live
	if who.Recorded || live.Name == "" || strings.Contains(live.Name, "/") {
		return false
	}
	now := claimFor(live.ID.Value, live.Name, 0, live.Place, nil)
	return who.Name != now.name(0) && who.Name != now.name(1)
}

// note has it remembered who a machine is.
func (p *Projector) note(m *known) {
	id, who := m.live.ID, facts.Identity{UID: string(m.uid), Created: m.live.Created, Recorded: m.claim.managed}
	switch {
	case m.over():
		p.memory.Note(id, facts.ID{}, facts.Identity{})
		return
	case m.uid == "":
		return
	case m.recalled != nil:
		who = *m.recalled
	case m.name != "":
		who.Name = m.name
	}
	p.memory.Note(id, m.live.Place.Folder, who)
}

// over says that nobody is to be told of a machine when vCenter does not tell of it.
func (m *known) over() bool { return m.removed || m.live.Template || m.uid != "" && m.hidden() }

// keep has nothing remembered of machines that are gone.
func (p *Projector) keep() {
	p.memory.Keep(func(id facts.ID) bool {
		m := p.machines[id.Value]
		return m != nil && m.live.ID == id && !m.over()
	})
}

// untoldText says what is the matter with a machine that is served from memory.
const untoldText = "vCenter cannot read the virtual machine's configuration now, as when its datastore is " +
	"inaccessible or its host is away"

// untold is why nothing can be done to such a machine.
func untold() error {
	return fmt.Errorf("%s: nothing of it can be changed, and it cannot be deleted, until vCenter can: %w",
		untoldText, failure.Unavailable)
}

// Told says why vCenter does not tell what the machine is that is served under that name, if it is the one of that uid;
// nil where it does. The error's kind is failure.Unavailable.
func (p *Projector) Told(namespace, name string, uid k8stypes.UID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.served(namespace, name, uid); m != nil && m.recalled != nil {
		return untold()
	}
	return nil
}
