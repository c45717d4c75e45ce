// SPDX-License-Identifier: Apache-2.0

package livestore

import "sync/atomic"

// termShift leaves a thousand million revisions to a term before it would reach into the next one.
const termShift = 30

// Sequence hands out the revisions of a process: one for all its stores, so that a revision is never given twice.
type Sequence struct {
	last atomic.Uint64
}

// NewSequence returns the sequence of a term. Every revision of a higher term is greater than every revision of a
// lower one. The first revision is term<<30 + 1.
func NewSequence(term uint64) *Sequence {
	s := &Sequence{}
	s.Begin(term)
	return s
}

// Begin moves the sequence to a term, for a process that learns its term only after its stores were made. It is called
// before the first Next.
func (s *Sequence) Begin(term uint64) {
	s.last.Store(term << termShift)
}

// NewCounter returns a sequence whose first revision is start + 1.
func NewCounter(start uint64) *Sequence {
	s := &Sequence{}
	s.last.Store(start)
	return s
}

// Next returns the next revision.
func (s *Sequence) Next() uint64 {
	return s.last.Add(1)
}
