// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"slices"
	"sync"
)

// Group is a set of children that are stopped in the reverse order of their start. The zero value is empty and ready.
type Group struct {
	mu      sync.Mutex
	members []member
}

type member struct {
	child  *Child
	cancel context.CancelFunc
	done   chan struct{}
}

// Start runs a child until Stop. The context of its life is the Group's own: who asks for the end calls Stop.
func (g *Group) Start(child *Child) {
	ctx, cancel := context.WithCancel(context.Background())
	m := member{child: child, cancel: cancel, done: make(chan struct{})}
	g.mu.Lock()
	g.members = append(g.members, m)
	g.mu.Unlock()
	go func() {
		defer close(m.done)
		child.Run(ctx)
	}()
}

// Stop ends the children one after the other, the last one first, and returns when all are gone.
func (g *Group) Stop() {
	for _, m := range slices.Backward(g.list()) {
		m.cancel()
		<-m.done
	}
}

// Kill ends all children now, without ceremony.
func (g *Group) Kill() {
	for _, m := range g.list() {
		m.child.Kill()
	}
}

func (g *Group) list() []member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.members)
}
