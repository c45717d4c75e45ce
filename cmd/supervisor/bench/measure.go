// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// task is something to ask a side for, and how many operations that was.
type task func(ctx context.Context, s *side) (operations int, err error)

// list asks for everything at once.
func list(query, accept string, packed bool) task {
	return func(ctx context.Context, s *side) (int, error) {
		return 1, get(ctx, s.client(packed), s.url+query, accept, nil)
	}
}

func (s *side) client(packed bool) *http.Client {
	if packed {
		return s.packed
	}
	return s.plain
}

// pages asks for everything, page by page.
func pages(limit int, accept string) task {
	return func(ctx context.Context, s *side) (int, error) {
		var buffer bytes.Buffer
		token := ""
		for {
			query := url.Values{"limit": {fmt.Sprint(limit)}}
			if token != "" {
				query.Set("continue", token)
			}
			if err := get(ctx, s.packed, s.url+"?"+query.Encode(), accept, &buffer); err != nil {
				return 0, err
			}
			if token = continueToken(buffer.Bytes()); token == "" {
				return 1, nil
			}
		}
	}
}

// syncInformer does what an informer does first: a watch that begins with everything there is.
func syncInformer(ctx context.Context, s *side) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	const query = "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=300"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+query, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept", acceptJSON)
	response, err := s.packed.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, refusal(response)
	}
	reader := bufio.NewReaderSize(response.Body, 64<<10)
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if bytes.Contains(line, []byte("k8s.io/initial-events-end")) {
			return 1, nil
		}
	}
}

// gets asks for one object after the other with several clients on one connection, for some time.
func gets(objects []objectName, query string, clients int, lasting time.Duration) task {
	return func(ctx context.Context, s *side) (int, error) {
		var done atomic.Int64
		group, ctx := errgroup.WithContext(ctx)
		until := time.Now().Add(lasting)
		for client := range clients {
			group.Go(func() error {
				// Each begins elsewhere and goes in large steps, so that no two ask for the same.
				for i := client * len(objects) / clients; time.Now().Before(until); i += 7919 {
					o := objects[i%len(objects)]
					if err := get(ctx, s.packed, s.object(o.namespace, o.name)+query, acceptJSON, nil); err != nil {
						return err
					}
					done.Add(1)
				}
				return nil
			})
		}
		err := group.Wait()
		return int(done.Load()), err
	}
}

type objectName struct{ namespace, name string }

// sample is one measurement of a task.
type sample struct {
	elapsed    time.Duration
	operations int
	// cpu is what each server took.
	cpu map[string]time.Duration
}

// measure does a task once.
func (p processes) measure(ctx context.Context, s *side, t task) (sample, error) {
	before, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	operations, err := t(ctx, s)
	elapsed := time.Since(began)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", s.name, err)
	}
	after, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	for name := range after {
		after[name] -= before[name]
	}
	return sample{elapsed: elapsed, operations: operations, cpu: after}, nil
}

// perOperation is what the servers took for an operation, in milliseconds.
func perOperation(samples []sample) map[string]float64 {
	total := map[string]float64{}
	operations := 0
	for _, s := range samples {
		operations += s.operations
		for name, cpu := range s.cpu {
			total[name] += milliseconds(cpu)
		}
	}
	for name := range total {
		total[name] /= float64(max(1, operations))
	}
	return total
}

func times(samples []sample) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = milliseconds(s.elapsed)
	}
	return values
}

func rates(samples []sample) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = float64(s.operations) / s.elapsed.Seconds()
	}
	return values
}
