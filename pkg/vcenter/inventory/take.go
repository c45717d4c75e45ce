// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// recheck is how often hidden objects are looked for.
const recheck = 20 * time.Second

// fate is what became of an object that no view has any more.
type fate int

const (
	// fateHidden: it is there, and not shown to the account.
	fateHidden fate = iota
	// fateGone: vCenter knows it no longer.
	fateGone
	// fateOutside: it lies somewhere else now.
	fateOutside
)

// found is what was read of an object that no view has any more.
type found struct {
	gone, readable bool
	parent         types.ManagedObjectReference
}

// answers are what was read, besides the set itself, to take it in. mark is the
// number of the Refresh that had read the object when the reading began: what
// was read counts as long as it is the same.
type answers struct {
	contents map[types.ManagedObjectReference]reread
	found    map[types.ManagedObjectReference]found
}

type reread struct {
	mark     uint64
	contents map[int]types.ObjectContent // By kind; without any, it is gone.
}

// questions are what has to be read yet.
type questions struct {
	reread  []types.ManagedObjectReference
	kinds   map[types.ManagedObjectReference]uint64 // Of those to reread.
	marks   map[types.ManagedObjectReference]uint64
	leaving []types.ManagedObjectReference
	parents map[types.ManagedObjectReference]types.ManagedObjectReference // Of those leaving, as known.
}

func newQuestions() questions {
	return questions{
		kinds:   map[types.ManagedObjectReference]uint64{},
		marks:   map[types.ManagedObjectReference]uint64{},
		parents: map[types.ManagedObjectReference]types.ManagedObjectReference{},
	}
}

func (q questions) none() bool { return len(q.reread) == 0 && len(q.leaving) == 0 }

// take applies a gathered set. What it leaves open is read without holding
// turns, so that nobody waits for vCenter who has no need to; then the set is
// applied anew to what is known by then.
func (s *stream) take(ctx context.Context, gathered []types.PropertyFilterUpdate, full bool) error {
	for _, update := range gathered {
		if update.Filter != s.anchorFilter {
			continue
		}
		if err := s.anchored(update.ObjectSet); err != nil {
			// What the rest of the set says may be a consequence of that: what
			// left is not known to be gone.
			return err
		}
	}
	if full {
		if err := s.complete(ctx, gathered); err != nil {
			return err
		}
	}
	read := answers{contents: map[types.ManagedObjectReference]reread{}, found: map[types.ManagedObjectReference]found{}}
	late := s.clock().Since(s.checked) >= recheck
	for {
		open, err := s.attempt(gathered, full, late, read)
		if err != nil || open.none() {
			return err
		}
		if err := s.answer(ctx, open, read); err != nil {
			return err
		}
	}
}

// anchored says whether the anchor is still what it was when it was found.
func (s *stream) anchored(updates []types.ObjectUpdate) error {
	for _, folder := range updates {
		if len(folder.MissingSet) > 0 || folder.Kind == types.ObjectUpdateKindLeave {
			if err := s.sayMissing(folder.Obj, folder.MissingSet); err != nil {
				return err
			}
			return errFolderGone
		}
		for _, change := range folder.ChangeSet {
			before, ok := s.anchor[change.Name]
			if ok && !equalValue(before, change.Val) {
				return errFolderChanged
			}
			s.anchor[change.Name] = change.Val
		}
	}
	return nil
}

// attempt applies a set with what was read for it, or returns what has to be
// read first and changes nothing.
func (s *stream) attempt(gathered []types.PropertyFilterUpdate, full, late bool, read answers) (questions, error) {
	s.turns.Lock()
	defer s.turns.Unlock()
	t := newTurn(s.Kinds, s.paths, full, s.objects)
	for _, filterUpdate := range gathered {
		kind, ok := s.kinds[filterUpdate.Filter]
		if !ok {
			continue
		}
		for _, update := range filterUpdate.ObjectSet {
			if err := s.sayMissing(update.Obj, update.MissingSet); err != nil {
				return questions{}, err
			}
			t.apply(kind, update)
		}
	}
	s.mistrust(t)
	late = late || t.revealed()
	var unseen []types.ManagedObjectReference
	if late && s.hidden > 0 {
		unseen = s.unseen(t)
	}
	open := newQuestions()
	for _, ref := range t.order {
		d := t.drafts[ref]
		if !d.reread || d.kinds == 0 {
			continue
		}
		known, ok := read.contents[ref]
		if !ok || known.mark != s.refreshed[ref] {
			open.reread = append(open.reread, ref)
			open.kinds[ref], open.marks[ref] = d.kinds, s.refreshed[ref]
			continue
		}
		if err := s.replace(t, ref, known.contents); err != nil {
			return questions{}, err
		}
	}
	for _, ref := range append(t.leaving(), unseen...) {
		if _, ok := read.found[ref]; !ok {
			open.leaving = append(open.leaving, ref)
			open.parents[ref], _ = s.objects[ref].properties["parent"].(types.ManagedObjectReference)
		}
	}
	if !open.none() {
		return open, nil
	}
	s.part(t, unseen, read.found)
	if late {
		s.checked = s.clock().Now()
	}
	if len(t.order) > 0 || full {
		s.root, s.vcenter = s.client.ServiceContent.RootFolder, s.client.ServiceContent.About.InstanceUuid
		s.hand(t, s.folder)
	}
	clear(s.refreshed)
	if full {
		s.lost = false
		s.Metrics.rebuilt()
		s.Logger.Info("Read the inventory", "objects", len(s.objects))
	}
	return questions{}, nil
}

// mistrust has read again what Refresh may have read later than vCenter put the
// set together.
func (s *stream) mistrust(t *turn) {
	for ref := range s.refreshed {
		known, ok := s.objects[ref]
		switch {
		case t.drafts[ref] != nil:
			t.drafts[ref].reread = true
		case t.full && ok:
			t.draft(ref).kinds = known.kinds
			t.drafts[ref].reread = true
		}
	}
}

// unseen returns the objects that no view has, to be looked for once more, and
// has those read again of which something is withheld.
func (s *stream) unseen(t *turn) (refs []types.ManagedObjectReference) {
	for ref, known := range s.objects {
		switch {
		case !known.hidden() || t.drafts[ref] != nil || t.full:
		case known.unseen:
			refs = append(refs, ref)
		default:
			t.draft(ref).reread = true
		}
	}
	return refs
}

// replace takes in what was read of an object.
func (s *stream) replace(t *turn, ref types.ManagedObjectReference, contents map[int]types.ObjectContent) error {
	d := t.drafts[ref]
	for kind := range s.Kinds {
		content, ok := contents[kind]
		switch {
		case d.kinds&(1<<kind) == 0:
		case !ok:
			d.kinds, d.gone = 0, true
			return nil
		default:
			if err := s.sayMissing(ref, content.MissingSet); err != nil {
				return err
			}
			t.replace(kind, content)
		}
	}
	return nil
}

// part decides what becomes of the objects that no view has: only what is known
// to be gone, or to lie elsewhere, is let go.
func (s *stream) part(t *turn, unseen []types.ManagedObjectReference, all map[types.ManagedObjectReference]found) {
	leaving := t.leaving()
	fates := map[types.ManagedObjectReference]fate{}
	for _, ref := range slices.Concat(leaving, unseen) {
		fates[ref] = s.fate(t, ref, all)
	}
	for _, ref := range leaving {
		if fates[ref] == fateHidden {
			t.keep(ref)
		}
	}
	for _, ref := range unseen {
		if fates[ref] != fateHidden {
			t.draft(ref).kinds = 0
		}
	}
}

// fate says what became of an object, by what was read of it and of those that
// it lies in.
func (s *stream) fate(t *turn, ref types.ManagedObjectReference, all map[types.ManagedObjectReference]found) fate {
	itself := all[ref]
	switch {
	case itself.gone:
		return fateGone
	case !itself.readable, !s.below(ref):
		return fateHidden
	}
	parent := itself.parent
	for range 64 { // Deeper than any inventory.
		switch folder, asked := all[parent]; {
		case parent == s.folder:
			return fateHidden
		case asked && !folder.readable:
			return fateHidden
		case asked:
			parent = folder.parent
		case t.has(parent):
			return fateHidden
		default:
			return fateOutside
		}
	}
	return fateHidden
}

// below says whether an object is one of those that are followed below the
// namespaces folder, and so can leave without being gone.
func (s *stream) below(ref types.ManagedObjectReference) bool {
	for i, kind := range s.Kinds {
		if kind.Root == RootNamespaces && s.objects[ref].kinds&(1<<i) != 0 {
			return true
		}
	}
	return false
}

// answer reads what is asked for.
func (s *stream) answer(ctx context.Context, open questions, read answers) error {
	for _, ref := range open.reread {
		read.contents[ref] = reread{mark: open.marks[ref], contents: map[int]types.ObjectContent{}}
	}
	for i, kind := range s.Kinds {
		var refs []types.ManagedObjectReference
		for _, ref := range open.reread {
			if open.kinds[ref]&(1<<i) != 0 {
				refs = append(refs, ref)
			}
		}
		for batch := range slices.Chunk(refs, rereadBatch) {
			contents, err := retrieve(ctx, s.client, batch, types.PropertySpec{Type: kind.Type, PathSet: kind.Paths})
			if err != nil {
				return fmt.Errorf("read %d objects of the kind %s again: %w", len(batch), kind.Type, err)
			}
			for _, content := range contents {
				if !isGone(content) {
					read.contents[content.Obj].contents[i] = content
				}
			}
		}
	}
	return s.confirm(ctx, open, read.found)
}

// confirm asks for objects that left, each by itself. Those that lie in one that
// is kept from the account are not asked for: they are kept from it as well.
func (s *stream) confirm(ctx context.Context, open questions, all map[types.ManagedObjectReference]found) error {
	left := open.leaving
	waiting := map[types.ManagedObjectReference]bool{}
	for _, ref := range left {
		waiting[ref] = true
	}
	for len(left) > 0 {
		var now, later []types.ManagedObjectReference
		for _, ref := range left {
			parent := open.parents[ref]
			switch f, asked := all[parent]; {
			case asked && !f.gone && !f.readable:
				all[ref] = found{}
			case waiting[parent] && !asked && parent != ref:
				later = append(later, ref)
			default:
				now = append(now, ref)
			}
		}
		if len(now) == 0 && len(later) == len(left) {
			now, later = later, nil // They lie in each other.
		}
		for batch := range slices.Chunk(now, rereadBatch) {
			if err := s.ask(ctx, batch, all); err != nil {
				return err
			}
		}
		left = later
	}
	return nil
}

// ask reads objects that left, and with them the namespaces folder: as long as
// that one is not what it was, nothing is known of what lies in it.
func (s *stream) ask(ctx context.Context, refs []types.ManagedObjectReference,
	all map[types.ManagedObjectReference]found) error {
	specs := []types.PropertySpec{{Type: s.anchorRef.Type, PathSet: []string{"name", "parent"}}}
	for _, ref := range refs {
		if !slices.ContainsFunc(specs, func(spec types.PropertySpec) bool { return spec.Type == ref.Type }) {
			specs = append(specs, types.PropertySpec{Type: ref.Type, PathSet: []string{"parent"}})
		}
	}
	contents, err := retrieve(ctx, s.client, append(slices.Clone(refs), s.anchorRef), specs...)
	if err != nil {
		if denied, ok := noPermission(err); ok {
			return s.askWithout(ctx, refs, denied, all)
		}
		return fmt.Errorf("read %d objects that left: %w", len(refs), err)
	}
	// vCenter leaves out what does not exist, and says what it does not show.
	missing := map[types.ManagedObjectReference]bool{s.anchorRef: true}
	for _, ref := range refs {
		missing[ref] = true
	}
	for _, content := range contents {
		if content.Obj == s.anchorRef {
			if err := s.anchored([]types.ObjectUpdate{{Obj: content.Obj, ChangeSet: changes(content),
				MissingSet: content.MissingSet}}); err != nil {
				return err
			}
		} else if err := s.sayMissing(content.Obj, content.MissingSet); err != nil {
			return err
		}
		missing[content.Obj] = isGone(content)
		f := found{readable: len(content.MissingSet) == 0}
		for _, property := range content.PropSet {
			if parent, ok := property.Val.(types.ManagedObjectReference); ok && property.Name == "parent" {
				f.parent = parent
			}
		}
		all[content.Obj] = f
	}
	delete(all, s.anchorRef)
	if missing[s.anchorRef] {
		return errFolderGone
	}
	for _, ref := range refs {
		if missing[ref] {
			all[ref] = found{gone: true}
		}
	}
	return nil
}

// askWithout asks once more, without the objects that vCenter said the account
// may not see; where it names none, for each half by itself.
func (s *stream) askWithout(ctx context.Context, refs []types.ManagedObjectReference,
	denied map[types.ManagedObjectReference]bool, all map[types.ManagedObjectReference]found) error {
	if denied[s.anchorRef] || len(refs) == 0 {
		return errFolderGone
	}
	var rest []types.ManagedObjectReference
	for _, ref := range refs {
		if denied[ref] || len(refs) == 1 {
			all[ref] = found{}
		} else {
			rest = append(rest, ref)
		}
	}
	if len(rest) == len(refs) {
		if err := s.ask(ctx, refs[:len(refs)/2], all); err != nil {
			return err
		}
		rest = refs[len(refs)/2:]
	}
	return s.ask(ctx, rest, all)
}

// noPermission returns the objects that a fault says the account may not see.
func noPermission(err error) (map[types.ManagedObjectReference]bool, bool) {
	if !soap.IsSoapFault(err) {
		return nil, false
	}
	fault, ok := soap.ToSoapFault(err).VimFault().(types.NoPermission)
	if !ok {
		return nil, false
	}
	denied := map[types.ManagedObjectReference]bool{}
	if fault.Object != nil {
		denied[*fault.Object] = true
	}
	for _, missing := range fault.MissingPrivileges {
		denied[missing.Entity] = true
	}
	return denied, true
}

func changes(content types.ObjectContent) []types.PropertyChange {
	var changes []types.PropertyChange
	for _, property := range content.PropSet {
		changes = append(changes, types.PropertyChange{Name: property.Name, Op: types.PropertyChangeOpAssign,
			Val: property.Val})
	}
	return changes
}
