// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"context"
	"sync"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/registry/projected"
)

// Config is what a Projector needs.
type Config struct {
	Clock  clock.PassiveClock // Nil: the real one.
	Logger klog.Logger
	// Installation is the one whose records count. Empty only where no vCenter stands behind.
	Installation string
	// Memory knows machines of which vCenter tells no configuration. Nil: nobody does.
	Memory Memory
}

// Projector follows the inventory and shows the API objects that stand for its virtual machines. It works per change:
// what a change cannot affect is not looked at. Its methods may be called from any goroutine.
type Projector struct {
	shown projected.Objects[vmopv1.VirtualMachine] // by the machines' managed-object ids

	clock        clock.PassiveClock
	logger       klog.Logger
	installation string
	memory       Memory

	mu       sync.Mutex
	synced   bool
	root     facts.ID // the namespaces folder
	machines map[string]*known
	surveys  surveys
	names    allotment
	// dirty are the machines to look at before the present call ends.
	dirty []*known
	// withdrawn are the machines in whose records there is a deletion that is over, with the heads of those records.
	withdrawn   map[facts.ID]facts.Head
	withdrawals chan struct{}
}

// NewProjector makes a Projector that knows nothing yet.
func NewProjector(config Config) *Projector {
	p := &Projector{clock: config.Clock, logger: config.Logger, installation: config.Installation,
		memory:    config.Memory,
		withdrawn: map[facts.ID]facts.Head{}, withdrawals: make(chan struct{}, 1)}
	if p.clock == nil {
		p.clock = clock.RealClock{}
	}
	if p.memory == nil {
		p.memory = forgetful{}
	}
	p.shown.Clock, p.shown.Conditions, p.shown.Settled = p.clock, conditionsOf, settled
	p.reset()
	return p
}

// Machines are what is shown of virtual machines.
func (p *Projector) Machines() *projected.Objects[vmopv1.VirtualMachine] { return &p.shown }

func conditionsOf(vm *vmopv1.VirtualMachine) *[]metav1.Condition { return &vm.Status.Conditions }

// settled says that what is so in vCenter is so, whatever a controller has said of it: that a power state is in sync, that
// a machine is made, and that one is not ready which is not on.
func settled(condition metav1.Condition) bool {
	switch condition.Type {
	case vmopv1.VirtualMachinePowerStateSynced, vmopv1.VirtualMachineConditionCreated,
		vmopv1.VirtualMachineClassConfigurationSynced, vmopv1.VirtualMachineHardwareCDROMVerified:
		return condition.Status == metav1.ConditionTrue
	case vmopv1.ReadyConditionType:
		return condition.Reason != NotProbedReason
	}
	return false
}

func (p *Projector) reset() {
	p.machines, p.surveys = map[string]*known{}, surveys{}
	p.names = allotment{
		holders: map[k8stypes.NamespacedName]*known{}, waiting: map[k8stypes.NamespacedName][]*known{}, changed: p.mark,
	}
	p.dirty = nil
}

// Take implements facts.Follower.
func (p *Projector) Take(step facts.Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if step.Initial {
		p.reset()
		p.shown.Begin()
		p.synced = true
	}
	p.root = step.Root
	for _, live := range step.Machines {
		p.change(live, step.Initial)
	}
	for _, id := range step.Removed {
		if id.Type == facts.TypeMachine {
			p.remove(id.Value)
		}
	}
	p.publish()
	if step.Initial {
		p.keep()
	}
}

func (p *Projector) change(live *facts.Live, initial bool) {
	m := p.machines[live.ID.Value]
	if m == nil {
		m = &known{arrives: !initial}
		p.machines[live.ID.Value] = m
	}
	p.look(m, live)
	if live.InstanceUUID != "" { // else it is not told yet what its record asks for
		if m.arrives && m.meta != nil && !m.meta.Deletion.IsZero() {
			// It comes from where nobody could see it, however long it was there.
			m.void = m.meta.Sequence
		}
		m.arrives = false
	}
	p.mark(m)
}

func (p *Projector) remove(id string) {
	if m := p.machines[id]; m != nil {
		delete(p.machines, id)
		m.removed = true
		p.mark(m)
	}
}

func (p *Projector) mark(m *known) {
	if !m.dirty {
		m.dirty = true
		p.dirty = append(p.dirty, m)
	}
}

// publish gives the dirty machines their names and shows their objects.
func (p *Projector) publish() {
	// Names first, all of them: they may pass from one machine to the next. Whoever gets another name by that is appended.
	for i := 0; i < len(p.dirty); i++ {
		m := p.dirty[i]
		wanted, served := p.claim(m)
		p.settleDeletion(m)
		if m.name != "" && (!served || m.claim != wanted) {
			p.names.leave(m)
		}
		if m.name == "" && served {
			m.claim = wanted
			p.names.enter(m)
		}
	}
	for _, m := range p.dirty {
		m.dirty = false
		p.note(m)
		if m.name == "" {
			p.shown.Drop(m.live.ID.Value)
		} else {
			p.shown.Set(m.live.ID.Value, p.project(m))
		}
	}
	p.dirty = p.dirty[:0]
	if cap(p.dirty) > 1024 {
		p.dirty = nil
	}
	p.shown.Flush()
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// claim says what name a machine asks for and whether it is served at all.
func (p *Projector) claim(m *known) (claim, bool) {
	if m.removed || m.uid == "" {
		return claim{}, false
	}
	place := m.live.Place
	if m.live.Template || place.Namespace == "" {
		return claim{}, false
	}
	if m.hidden() {
		return claim{}, false
	}
	if who := m.recalled; who != nil {
		// It keeps the name that it had, whatever decided on that, unless it is known to be another's by now.
		return claim{
			namespace: place.Namespace, base: who.Name, plain: true,
			managed: who.Recorded, former: m.renamed(), created: who.Created.Unix(), ref: m.live.ID.Value,
		}, true
	}
	return claimFor(m.live.ID.Value, m.live.Name, m.live.Created.Unix(), place, m.meta), true
}

// project makes the object of a machine that has a name.
func (p *Projector) project(m *known) *vmopv1.VirtualMachine {
	standing := m.standing()
	v := view{
		live: m.live, hardware: m.hardware, uid: m.uid,
		namespace: m.claim.namespace, name: m.name,
		meta: standing.meta, aside: standing.aside, metaErr: m.metaErr, wentBack: m.wentBack, installation: p.installation,
		paused: m.pausedBy(), recalled: m.recalled != nil,
	}
	if m.choice > 0 {
		v.taken = m.claim.name(0)
	}
	if cluster := m.live.Cluster; cluster != nil && cluster.Name != "" {
		v.zone = namespace.Label(cluster.Name, "zone", cluster.ID.Value)
	}
	object := v.object()
	object.Status.Conditions = v.conditions()
	return object
}

// Synced says whether the whole inventory has been seen once.
func (p *Projector) Synced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.synced
}

// maxForeignSequence is the highest sequence that is believed of a record that is not proven.
const maxForeignSequence = 1 << 48

// state is what is known of a machine, and where it lies.
func (p *Projector) state(m *known) State {
	s := State{
		Machine: m.live.Machine(), Object: p.shown.Get(m.live.ID.Value), Installation: p.installation,
		Sequence: m.newest, WentBack: m.wentBack, Metadata: m.meta, MetadataError: m.metaErr,
		Live: m.live, Recalled: m.recalled != nil,
	}
	if _, another := s.Another(p.installation); another {
		// Whoever wrote it must not be able to have the next one begin at 0.
		s.Sequence = max(s.Sequence, min(s.Head.Sequence, maxForeignSequence))
	}
	return s
}

// NamespacesFolder is the folder in which the namespaces' folders lie, zero until it is known.
func (p *Projector) NamespacesFolder() facts.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.root
}

// served returns the machine that has a name, if it is the one of that uid, else nil.
func (p *Projector) served(namespace, name string, uid k8stypes.UID) *known {
	if m := p.holder(namespace, name); m != nil && m.uid == uid {
		return m
	}
	return nil
}

func (p *Projector) holder(namespace, name string) *known {
	return p.names.holders[k8stypes.NamespacedName{Namespace: namespace, Name: name}]
}

// Find returns the machine that is served under a name.
func (p *Projector) Find(namespace, name string) (State, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.holder(namespace, name)
	if m == nil {
		return State{}, false
	}
	return p.state(m), true
}

// Created says whether Pacific made the machine that is served under that name, if it is the one of that uid.
func (p *Projector) Created(namespace, name string, uid k8stypes.UID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.served(namespace, name, uid)
	return m != nil && m.meta != nil && m.meta.Created
}

// Wait returns nil as soon as done says so of the machine, as it is shown, and ctx's error when that ends first. found
// is false when the machine is gone.
func (p *Projector) Wait(ctx context.Context, id facts.ID, done func(state State, found bool) bool) error {
	return p.shown.Wait(ctx, id.Value, func() bool { return done(p.stateOf(id)) })
}

func (p *Projector) stateOf(id facts.ID) (State, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, found := p.machines[id.Value]
	if !found {
		return State{}, false
	}
	return p.state(m), true
}

// Asks returns what a machine asks as soon as it waits for somebody's answer in vCenter, and "" when ctx ends first.
func (p *Projector) Asks(ctx context.Context, id facts.ID) (question string) {
	err := p.Wait(ctx, id, func(s State, _ bool) bool {
		question = s.Question
		return question != ""
	})
	if err != nil {
		return ""
	}
	return question
}

// SetCondition shows a condition on the machine that is served under a name, if it is the one of that uid, in place of
// what the projection says of the same type, until it is cleared or the machine is served no more.
func (p *Projector) SetCondition(namespace, name string, uid k8stypes.UID, condition metav1.Condition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.served(namespace, name, uid)
	if m != nil && p.shown.SetCondition(m.live.ID.Value, uid, condition) {
		p.mark(m)
		p.publish()
	}
}

// ClearCondition takes back what SetCondition said.
func (p *Projector) ClearCondition(namespace, name string, uid k8stypes.UID, conditionType string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.served(namespace, name, uid)
	if m != nil && p.shown.ClearCondition(m.live.ID.Value, uid, conditionType) {
		p.mark(m)
		p.publish()
	}
}
