// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"fmt"
	"sync"
	"time"
)

// Progress shows, on a terminal, a line about a step that takes longer than
// half a second, and takes it back when the returned function is called.
func (s *Shell) Progress(step string) (done func()) { return s.ProgressOf(step).Done }

// Progress is a line about a step, which is shown once that takes longer than half
// a second, with how long it has taken.
type Progress struct {
	step  string
	stop  chan struct{}
	ended chan struct{}

	mu   sync.Mutex
	said string
}

// ProgressOf begins a line about a step. Its Done has to be called. Where standard
// error is not a terminal it shows nothing.
func (s *Shell) ProgressOf(step string) *Progress {
	p := &Progress{step: step, stop: make(chan struct{}), ended: make(chan struct{})}
	if !s.ErrorTerminal() {
		close(p.ended)
		return p
	}
	go p.show(s)
	return p
}

// Say adds to the line what is in the way, in place of what was said before.
func (p *Progress) Say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = text
}

// Done takes the line back.
func (p *Progress) Done() {
	close(p.stop)
	<-p.ended
}

func (p *Progress) show(s *Shell) {
	defer close(p.ended)
	started := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for shown := false; ; shown = true {
		select {
		case <-tick.C:
			p.mu.Lock()
			said := p.said
			p.mu.Unlock()
			if said != "" {
				said = " " + said
			}
			fmt.Fprintf(s.Err, "\r\x1b[K%s... %d s%s", p.step, int(time.Since(started).Seconds()), said)
		case <-p.stop:
			if shown {
				fmt.Fprint(s.Err, "\r\x1b[K")
			}
			return
		}
	}
}
