// SPDX-License-Identifier: Apache-2.0

package up

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/openpacific/pacific/cmd/supervisor/component"
	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/process"
)

// board is what is known of the children: it tells the user, keeps the status file, and sees to it that the aggregator
// hears of a vsphere-apiserver that is back.
type board struct {
	supervisor *Supervisor
	dirty      chan struct{} // something to write
	back       chan struct{} // vsphere-apiserver became ready

	mu         sync.Mutex
	status     datadir.Status
	index      map[string]int
	ending     bool
	everReady  map[string]bool
	restartsOf int
}

func newBoard(s *Supervisor) *board {
	return &board{
		supervisor: s,
		dirty:      make(chan struct{}, 1),
		back:       make(chan struct{}, 1),
		status:     datadir.Status{PID: os.Getpid(), StartedAt: s.began, Server: serverURL(s.Options)},
		index:      map[string]int{},
		everReady:  map[string]bool{},
	}
}

// say prints one line of progress.
func (b *board) say(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sayLocked(format, args...)
}

func (b *board) sayLocked(format string, args ...any) {
	elapsed := b.supervisor.Clock.Since(b.supervisor.began)
	fmt.Fprintf(b.supervisor.Out, "[%5.1fs] %s\n", elapsed.Seconds(), fmt.Sprintf(format, args...))
}

// add puts a child on the board.
func (b *board) add(status process.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index[status.Name] = len(b.status.Components)
	b.status.Components = append(b.status.Components, status)
}

// note is told of every change of a child.
func (b *board) note(now process.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.status.Components[b.index[now.Name]]
	b.status.Components[b.index[now.Name]] = now
	notify(b.dirty)
	if now.State == before.State {
		return
	}
	switch now.State {
	case process.Ready:
		switch {
		case before.State == process.NotReady:
			b.sayLocked("%s is ready again", now.Name)
		case b.everReady[now.Name]:
			b.sayLocked("%s is ready again (pid %d, restart %d, after %.1f s)", now.Name, now.PID, now.Restarts,
				now.ReadyAt.Sub(now.StartedAt).Seconds())
		default:
			b.sayLocked("%s ready (pid %d, log %s)", now.Name, now.PID, b.supervisor.shorten(now.LogFile))
		}
		b.everReady[now.Name] = true
		if now.Name == component.VSphereAPIServer {
			b.restartsOf = now.Restarts
			notify(b.back)
		}
	case process.NotReady:
		if !b.ending {
			b.sayLocked("%s is not ready any more: %s", now.Name, now.Reason)
		}
	case process.BackingOff:
		b.sayLocked("%s %s; starting it again (log %s)", now.Name, now.Reason, b.supervisor.shorten(now.LogFile))
	case process.Stopped:
		if now.Reason != "" {
			b.sayLocked("%s stopped (%s)", now.Name, now.Reason)
		} else {
			b.sayLocked("%s stopped", now.Name)
		}
	}
}

// ready records that everything is.
func (b *board) ready() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Ready = true
	notify(b.dirty)
}

// stopping keeps the expected from being told as news.
func (b *board) stopping() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ending, b.status.Ready = true, false
	notify(b.dirty)
}

// run writes the status file and nudges the aggregator until ctx is done.
func (b *board) run(ctx context.Context) {
	var writers sync.WaitGroup
	writers.Go(func() { b.nudge(ctx) })
	defer writers.Wait()
	for {
		select {
		case <-ctx.Done():
			b.write()
			return
		case <-b.dirty:
			b.write()
		}
	}
}

func (b *board) write() {
	b.mu.Lock()
	status := b.status
	status.VCenter = b.supervisor.plan.vcenter
	clusterCA := b.supervisor.plan.certificates.clusterCA
	status.Authority = datadir.Authority{CertFile: clusterCA.CertFile, Fingerprint: clusterCA.Fingerprint()}
	status.Components = append([]process.Status(nil), status.Components...)
	b.mu.Unlock()
	if err := b.supervisor.dir.WriteStatus(status); err != nil {
		b.say("%v", err)
	}
}

func (b *board) nudge(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.back:
		}
		b.mu.Lock()
		restarts := b.restartsOf
		b.mu.Unlock()
		attempt, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := b.supervisor.cluster.Nudge(attempt, b.supervisor.register.APIServices, restarts)
		cancel()
		if err != nil && ctx.Err() == nil {
			b.say("cannot tell the aggregator that vsphere-apiserver is back; it finds out within 30 s: %v", err)
		}
	}
}

func notify(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
