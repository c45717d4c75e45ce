// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"maps"
	"sync"
)

// calls counts by method.
type calls struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *calls) add(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[method]++
}

// Calls is how often each SOAP method was called since the start, whatever came of
// it, so that a test can prove that something was not asked for.
func (v *VCenter) Calls() map[string]int {
	v.calls.mu.Lock()
	defer v.calls.mu.Unlock()
	return maps.Clone(v.calls.counts)
}
