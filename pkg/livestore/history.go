// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"sort"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
)

// event is one change of one key, immutable.
type event struct {
	revision uint64
	key      string
	// previous is nil for an addition, current is nil for a deletion.
	previous, current *entry
	// deleted is the last state of a deleted object under the revision of its deletion.
	deleted runtime.Object
	at      time.Time
}

// history remembers the latest changes in the order of their revisions. It is guarded by the lock of its mirror.
type history struct {
	events []*event
	// oldest is the earliest revision that can still be told apart: that of the last event let go, or of the start.
	oldest uint64
	// compacted is the revision of the last event let go, 0 if none was.
	compacted uint64
}

func (h *history) append(e *event) {
	h.events = append(h.events, e)
}

// after returns the position of the first event with a greater revision.
func (h *history) after(revision uint64) int {
	return sort.Search(len(h.events), func(i int) bool { return h.events[i].revision > revision })
}

// trim lets go events beyond the limit and events from before the time.
func (h *history) trim(limit int, before time.Time) {
	n := max(len(h.events)-limit, 0)
	for n < len(h.events) && h.events[n].at.Before(before) {
		n++
	}
	h.drop(n)
}

// compact lets go all events up to the revision.
func (h *history) compact(revision uint64) {
	h.drop(h.after(revision))
	h.oldest = max(h.oldest, revision)
	h.compacted = max(h.compacted, revision)
}

func (h *history) drop(n int) {
	if n == 0 {
		return
	}
	h.oldest = h.events[n-1].revision
	h.compacted = h.oldest
	// The array behind the slice outlives the events at its start.
	clear(h.events[:n])
	h.events = h.events[n:]
}
