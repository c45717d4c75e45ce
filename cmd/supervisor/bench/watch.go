// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	watchersPerConnection = 10
	// watchTimeout bounds how long a change may take to all watchers.
	watchTimeout = time.Minute
	// reopenPause is what a watcher waits before it tries again.
	reopenPause = 100 * time.Millisecond
)

// audience are watchers of all machines of a side.
type audience struct {
	watchers []*watcher
	running  sync.WaitGroup
	stop     context.CancelFunc
}

// watcher counts the events that hold the text that is looked for. A watch that the server ends it opens again where it
// ended, as client-go does: API servers end the watches of those who fall behind.
type watcher struct {
	client *http.Client
	url    string
	// version is the one of the last event.
	version string
	reopens atomic.Int64
	wanted  atomic.Pointer[hunt]
	failed  atomic.Pointer[error]
}

// hunt is the search for a number of events that hold a text.
type hunt struct {
	text    []byte
	count   int
	arrived chan<- time.Time // The time of the last of them.
}

// gather opens watches from a version on.
func gather(ctx context.Context, s *side, count int, version string) (*audience, error) {
	ctx, stop := context.WithCancel(ctx)
	a := &audience{stop: stop}
	var client *http.Client
	for i := range count {
		if i%watchersPerConnection == 0 {
			var err error
			if client, err = newClient(s.config, true); err != nil {
				a.leave()
				return nil, err
			}
		}
		w := &watcher{client: client,
			url:     s.url + "?watch=true&allowWatchBookmarks=true&timeoutSeconds=3600&resourceVersion=",
			version: version}
		body, err := w.open(ctx)
		if err != nil {
			a.leave()
			return nil, err
		}
		a.watchers = append(a.watchers, w)
		a.running.Go(func() { w.run(ctx, body) })
	}
	return a, nil
}

// leave ends all watches.
func (a *audience) leave() {
	a.stop()
	a.running.Wait()
}

// reopens is how often servers have ended a watch.
func (a *audience) reopens() int {
	var total int64
	for _, w := range a.watchers {
		total += w.reopens.Load()
	}
	return int(total)
}

func (w *watcher) open(ctx context.Context) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+w.version, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", acceptJSON)
	response, err := w.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, refusal(response)
	}
	return response.Body, nil
}

func (w *watcher) run(ctx context.Context, body io.ReadCloser) {
	search := search{}
	for {
		err := w.read(body, &search)
		body.Close()
		for ctx.Err() == nil {
			w.failed.Store(&err)
			if body, err = w.open(ctx); err == nil {
				w.reopens.Add(1)
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(reopenPause):
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// search is how far a hunt has come.
type search struct {
	hunt *hunt
	seen int
}

func (w *watcher) read(body io.Reader, s *search) error {
	reader := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.HasPrefix(line, []byte(`{"type":"ERROR"`)) {
			return fmt.Errorf("the watch ended with %s", line)
		}
		if version := versionIn(line); version != "" {
			w.version = version
		}
		if h := w.wanted.Load(); h != s.hunt {
			s.hunt, s.seen = h, 0
		}
		if s.hunt == nil || !bytes.Contains(line, s.hunt.text) {
			continue
		}
		if s.seen++; s.seen == s.hunt.count {
			s.hunt.arrived <- time.Now()
		}
	}
}

// versionIn finds the version of an event's object without decoding it.
func versionIn(event []byte) string {
	_, rest, found := bytes.Cut(event, []byte(`"resourceVersion":"`))
	if !found {
		return ""
	}
	version, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(version)
}

// await makes changes and returns, for each watcher, how long after the start of the changes the last of them arrived.
func (a *audience) await(text string, count int, change func() error) ([]time.Duration, error) {
	arrived := make(chan time.Time, len(a.watchers))
	for _, w := range a.watchers {
		w.wanted.Store(&hunt{text: []byte(text), count: count, arrived: arrived})
	}
	began := time.Now()
	if err := change(); err != nil {
		return nil, err
	}
	timeout := time.NewTimer(watchTimeout)
	defer timeout.Stop()
	var latencies []time.Duration
	for range a.watchers {
		select {
		case at := <-arrived:
			latencies = append(latencies, at.Sub(began))
		case <-timeout.C:
			return nil, fmt.Errorf("%d of %d watchers saw %d changes within %s (%s)", len(latencies), len(a.watchers), count,
				watchTimeout, a.troubles())
		}
	}
	return latencies, nil
}

func (a *audience) troubles() string {
	for _, w := range a.watchers {
		if err := w.failed.Load(); err != nil {
			return fmt.Sprintf("%d watches were opened again, one because of: %v", a.reopens(), *err)
		}
	}
	return "no watch was ended"
}
