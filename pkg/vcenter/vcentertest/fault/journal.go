// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"maps"
	"slices"
	"sync"
)

// Journal counts calls by their method. The zero value is empty.
type Journal struct {
	mu         sync.Mutex
	counts     map[string]int
	recordings []*Recording
}

// Add notes a call.
func (j *Journal) Add(call Call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.counts == nil {
		j.counts = map[string]int{}
	}
	j.counts[call.Method]++
	for _, r := range j.recordings {
		r.calls = append(r.calls, call)
	}
}

// Counts is how often each method was called since the start.
func (j *Journal) Counts() map[string]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.counts)
}

// Record notes the calls from now on, one after the other.
func (j *Journal) Record() *Recording {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &Recording{journal: j}
	j.recordings = append(j.recordings, r)
	return r
}

// Recording is the calls of a scenario in the order in which they came.
type Recording struct {
	journal *Journal
	calls   []Call
}

// Stop ends the recording, which can be read then as before.
func (r *Recording) Stop() {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	r.journal.recordings = slices.DeleteFunc(r.journal.recordings, func(other *Recording) bool { return other == r })
}

// Calls are all calls: the n-th of them is what a Rule for Any with that Nth fires at when the scenario runs again.
func (r *Recording) Calls() []string { return r.methods(func(Call) bool { return true }) }

// Changes are the calls that change what others see: the n-th of them is what a Rule for Changing with that Nth fires
// at.
func (r *Recording) Changes() []string { return r.methods(func(c Call) bool { return c.Changes }) }

// Counts is how often each method was called.
func (r *Recording) Counts() map[string]int {
	counts := map[string]int{}
	for _, method := range r.Calls() {
		counts[method]++
	}
	return counts
}

func (r *Recording) methods(is func(Call) bool) []string {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	var methods []string
	for _, call := range r.calls {
		if is(call) {
			methods = append(methods, call.Method)
		}
	}
	return methods
}
