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
)

// audience are watchers of all machines of a side.
type audience struct {
	watchers []*watcher
	running  sync.WaitGroup
	stop     context.CancelFunc
}

// watcher counts the events that hold the text that is looked for.
type watcher struct {
	body io.ReadCloser
	// wanted is the text, arrived the channel that gets the time of each event that holds it.
	wanted atomic.Pointer[hunt]
	failed atomic.Pointer[error]
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
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"?watch=true&allowWatchBookmarks=true&timeoutSeconds=3600&resourceVersion="+version, nil)
		if err != nil {
			a.leave()
			return nil, err
		}
		request.Header.Set("Accept", acceptJSON)
		response, err := client.Do(request)
		if err != nil {
			a.leave()
			return nil, err
		}
		if response.StatusCode != http.StatusOK {
			err := refusal(response)
			response.Body.Close()
			a.leave()
			return nil, err
		}
		w := &watcher{body: response.Body}
		a.watchers = append(a.watchers, w)
		a.running.Go(w.run)
	}
	return a, nil
}

// leave ends all watches.
func (a *audience) leave() {
	a.stop()
	a.running.Wait()
}

func (w *watcher) run() {
	defer w.body.Close()
	reader := bufio.NewReaderSize(w.body, 64<<10)
	seen := 0
	var current *hunt
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			w.failed.Store(&err)
			return
		}
		if h := w.wanted.Load(); h != current {
			current, seen = h, 0
		}
		if current == nil || !bytes.Contains(line, current.text) {
			continue
		}
		if seen++; seen == current.count {
			current.arrived <- time.Now()
		}
	}
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
			return nil, fmt.Errorf("%d of %d watchers saw %d changes within %s (%s)", len(latencies), len(a.watchers), count, watchTimeout, a.troubles())
		}
	}
	return latencies, nil
}

func (a *audience) troubles() string {
	for _, w := range a.watchers {
		if err := w.failed.Load(); err != nil {
			return (*err).Error()
		}
	}
	return "all watches are open"
}
