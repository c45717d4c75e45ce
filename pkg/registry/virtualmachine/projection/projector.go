// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"context"
	"sync"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/namespace"
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

// Projector follows the inventory and keeps a mirror at the API objects that stand for its virtual machines. It works
// per change: what a change cannot affect is not looked at. Its methods may be called from any goroutine.
type Projector struct {
	clock        clock.PassiveClock
	logger       klog.Logger
	installation string
	memory       Memory

	mu       sync.Mutex
	synced   bool
	root     facts.ID // the namespaces folder
	mirror   livestore.Mirror
	machines map[string]*known
	surveys  surveys
	names    allotment
	// dirty are the machines to look at before the present call ends.
	dirty []*known
	// withdrawn are the machines in whose records there is a deletion that is over, with the heads of those records.
	withdrawn   map[facts.ID]facts.Head
	withdrawals chan struct{}

	waiters map[string]map[chan struct{}]struct{}
}

// NewProjector makes a Projector that knows nothing yet.
func NewProjector(config Config) *Projector {
	p := &Projector{clock: config.Clock, logger: config.Logger, installation: config.Installation,
		memory: config.Memory, waiters: map[string]map[chan struct{}]struct{}{},
		withdrawn: map[facts.ID]facts.Head{}, withdrawals: make(chan struct{}, 1)}
	if p.clock == nil {
		p.clock = clock.RealClock{}
	}
	if p.memory == nil {
		p.memory = forgetful{}
	}
	p.reset()
	return p
}

func (p *Projector) reset() {
	p.machines, p.surveys = map[string]*known{}, surveys{}
	p.names = allotment{names: map[string]*allotted{}, changed: p.mark}
	p.dirty = nil
}

// Take implements facts.Follower.
func (p *Projector) Take(step facts.Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if step.Initial {
		p.reset()
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
	changes := p.settle()
	if step.Initial {
		p.keep()
	}
	switch {
	case p.mirror == nil:
	case step.Initial:
		p.mirror.Replace(p.objects())
	case p.synced && len(changes) > 0:
		p.mirror.Apply(changes)
	}
	p.announce()
}

// Attach hands everything to a mirror, and every change from here on. A standby that becomes the leader attaches its
// store.
func (p *Projector) Attach(mirror livestore.Mirror) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mirror = mirror
	if p.synced {
		mirror.Replace(p.objects())
	}
}

func (p *Projector) objects() map[string]runtime.Object {
	objects := make(map[string]runtime.Object, len(p.machines))
	for _, m := range p.machines {
		if m.published != "" {
			objects[m.published] = m.object
		}
	}
	return objects
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

// settle gives the dirty machines their names and objects and returns what changed for the mirror.
func (p *Projector) settle() []livestore.Change {
	// Names first, all of them: they may pass from one machine to the next. Whoever gets another name by that is appended.
	for i := 0; i < len(p.dirty); i++ {
		m := p.dirty[i]
		wanted, served := p.claim(m)
		p.settleDeletion(m)
		if m.key != "" && (!served || m.claim != wanted) {
			p.names.leave(m)
		}
		if m.key == "" && served {
			m.claim = wanted
			p.names.enter(m)
		}
	}
	touched := make([]string, 0, len(p.dirty))
	for _, m := range p.dirty {
		p.note(m)
		object := p.project(m)
		if m.published == m.key && (object == nil || m.object != nil && same(m.object, object)) {
			continue
		}
		if m.published != "" && m.published != m.key {
			touched = append(touched, m.published)
		}
		if m.key != "" {
			touched = append(touched, m.key)
			m.object = object
		}
		m.published = m.key
	}
	changes := make([]livestore.Change, 0, len(touched))
	seen := make(map[string]struct{}, len(touched))
	for _, k := range touched {
		if _, done := seen[k]; done {
			continue
		}
		seen[k] = struct{}{}
		change := livestore.Change{Key: k}
		if n := p.names.names[k]; n != nil {
			change.Object = n.holder.object
		}
		changes = append(changes, change)
	}
	return changes
}

// announce tells those who wait that the mirror has what changed.
func (p *Projector) announce() {
	for _, m := range p.dirty {
		m.dirty = false
		for waiter := range p.waiters[m.live.ID.Value] {
			poke(waiter)
		}
	}
	p.dirty = p.dirty[:0]
	if cap(p.dirty) > 1024 {
		p.dirty = nil
	}
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
	if place.Detached && (m.meta == nil || !m.meta.Created) {
		return claim{}, false
	}
	if who := m.recalled; who != nil {
		// It keeps the name that it had, whatever decided on that.
		return claim{
			namespace: place.Namespace, base: who.Name, plain: true,
			managed: who.Recorded, created: who.Created.Unix(), ref: m.live.ID.Value,
		}, true
	}
	return claimFor(m.live.ID.Value, m.live.Name, m.live.Created.Unix(), place, m.meta), true
}

// project makes the object of a machine that has a name.
func (p *Projector) project(m *known) *vmopv1.VirtualMachine {
	if m.key == "" {
		return nil
	}
	standing := m.standing()
	v := view{
		live: m.live, hardware: m.hardware, uid: m.uid,
		namespace: m.claim.namespace, name: m.claim.name(m.choice),
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
	object.Status.Conditions = v.conditions(m.overlay)
	var before []metav1.Condition
	if m.object != nil {
		before = m.object.Status.Conditions
	}
	date(object.Status.Conditions, before, m.live.Created, p.clock.Now())
	return object
}

// same compares two objects but for their resourceVersion, which the mirror gives.
func same(a, b *vmopv1.VirtualMachine) bool {
	if a == b {
		return true
	}
	x, y := *a, *b
	x.ResourceVersion, y.ResourceVersion = "", ""
	return equality.Semantic.DeepEqual(&x, &y)
}

// Synced says whether the whole inventory has been seen once.
func (p *Projector) Synced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.synced
}

// state is what is known of a machine, and where it lies.
func (p *Projector) state(m *known) State {
	s := State{
		Machine: m.live.Machine(), Key: m.published, Installation: p.installation,
		Sequence: m.newest, WentBack: m.wentBack, Metadata: m.meta, MetadataError: m.metaErr,
		Recalled: m.recalled != nil,
	}
	if _, another := s.Another(p.installation); another {
		s.Sequence = max(s.Sequence, s.Head.Sequence)
	}
	if m.published != "" {
		s.Object = m.object
	}
	return s
}

// NamespacesFolder is the folder in which the namespaces' folders lie, zero until it is known.
func (p *Projector) NamespacesFolder() facts.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.root
}

// served returns the machine that has a key, if it is the one of that uid, else nil.
func (p *Projector) served(key string, uid k8stypes.UID) *known {
	if n := p.names.names[key]; n != nil && n.holder != nil && n.holder.uid == uid {
		return n.holder
	}
	return nil
}

// Find returns the machine that the mirror has under a key.
func (p *Projector) Find(key string) (State, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.names.names[key]
	if n == nil || n.holder == nil {
		return State{}, false
	}
	return p.state(n.holder), true
}

// Created says whether Pacific made the machine that is served under that name, if it is the one of that uid.
func (p *Projector) Created(namespace, name string, uid k8stypes.UID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.served(Key(namespace, name), uid)
	return m != nil && m.meta != nil && m.meta.Created
}

// Wait returns nil as soon as done says so of the machine, as the mirror has it, and ctx's error when that ends first.
// found is false when the machine is gone.
func (p *Projector) Wait(ctx context.Context, id facts.ID, done func(state State, found bool) bool) error {
	moved := make(chan struct{}, 1)
	p.mu.Lock()
	if p.waiters[id.Value] == nil {
		p.waiters[id.Value] = map[chan struct{}]struct{}{}
	}
	p.waiters[id.Value][moved] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waiters[id.Value], moved)
		if len(p.waiters[id.Value]) == 0 {
			delete(p.waiters, id.Value)
		}
	}()
	for {
		p.mu.Lock()
		var state State
		m, found := p.machines[id.Value]
		if found {
			state = p.state(m)
		}
		p.mu.Unlock()
		if done(state, found) {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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

// SetCondition shows a condition on the machine that is served under a key, if it is the one of that uid, in place of
// what the projection says of the same type, until it is cleared or the process ends. Its transition time is set here.
func (p *Projector) SetCondition(key string, uid k8stypes.UID, condition metav1.Condition) {
	condition.LastTransitionTime = metav1.Time{}
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.served(key, uid)
	if m == nil || m.overlay[condition.Type] == condition {
		return
	}
	if m.overlay == nil {
		m.overlay = map[string]metav1.Condition{}
	}
	m.overlay[condition.Type] = condition
	p.mark(m)
	p.publish()
}

// ClearCondition takes back what SetCondition said.
func (p *Projector) ClearCondition(key string, uid k8stypes.UID, conditionType string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.served(key, uid)
	if m == nil {
		return
	}
	if _, set := m.overlay[conditionType]; !set {
		return
	}
	delete(m.overlay, conditionType)
	p.mark(m)
	p.publish()
}

func (p *Projector) publish() {
	changes := p.settle()
	if p.mirror != nil && p.synced && len(changes) > 0 {
		p.mirror.Apply(changes)
	}
	p.announce()
}
