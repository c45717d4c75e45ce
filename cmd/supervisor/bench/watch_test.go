// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// TestWatchersGoOn has a server that ends every watch after each event, and watchers that miss nothing all the same.
func TestWatchersGoOn(t *testing.T) {
	const first, last = 5, 9
	var mu sync.Mutex
	ready := make(chan struct{})
	asked := map[string]int{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		version := request.URL.Query().Get("resourceVersion")
		mu.Lock()
		asked[version]++
		mu.Unlock()
		w.(http.Flusher).Flush()
		select {
		case <-ready:
		case <-request.Context().Done():
			return
		}
		n, err := strconv.Atoi(version)
		if err != nil || n >= last {
			<-request.Context().Done()
			return
		}
		fmt.Fprintf(w, `{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"%d"},"status":{"hostName":"new-%d"}}}`+
			"\n",
			n+1, n+1)
	}))
	defer server.Close()
	s := &side{name: "test", url: server.URL, config: &rest.Config{Host: server.URL,
		TLSClientConfig: rest.TLSClientConfig{Insecure: true}}}
	watchers, err := gather(t.Context(), s, 3, strconv.Itoa(first))
	if err != nil {
		t.Fatal(err)
	}
	defer watchers.leave()
	latencies, err := watchers.await(`"hostName":"new-`, last-first, func() error { close(ready); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(latencies) != 3 {
		t.Errorf("%d latencies, want 3", len(latencies))
	}
	if got := watchers.reopens(); got < 3*(last-first-1) {
		t.Errorf("%d watches were opened again", got)
	}
	mu.Lock()
	defer mu.Unlock()
	for version := first; version < last; version++ {
		if got := asked[strconv.Itoa(version)]; got != 3 {
			t.Errorf("%d watches from version %d on, want 3", got, version)
		}
	}
}
