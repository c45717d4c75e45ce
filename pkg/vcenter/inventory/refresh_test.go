// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// tap is a way to vCenter on which calls can be counted and held back.
type tap struct {
	vcenter.Config

	mu    sync.Mutex
	calls []string
	hold  func(method, body string) (wait <-chan struct{})
}

func newTap(t *testing.T, v *vcentertest.VCenter) *tap {
	t.Helper()
	tap := &tap{}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: v.Addr()}) },
		ErrorLog:  log.New(io.Discard, "", 0),
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		tap.pass(string(body))
		proxy.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = proxy.ErrorLog
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		0o600); err != nil {
		t.Fatal(err)
	}
	way, err := url.Parse(server.URL + vim25.Path)
	if err != nil {
		t.Fatal(err)
	}
	tap.URL, tap.CAFile = way, file
	return tap
}

// pass counts a call and waits as long as it is held back.
func (t *tap) pass(body string) {
	_, method, _ := strings.Cut(body, "<Body><")
	method, _, _ = strings.Cut(method, " ")
	t.mu.Lock()
	t.calls = append(t.calls, body)
	var held <-chan struct{}
	if t.hold != nil {
		held = t.hold(method, body)
	}
	t.mu.Unlock()
	if held != nil {
		<-held
	}
}

// reads counts the calls that read an object by its id.
func (t *tap) reads(ref types.ManagedObjectReference) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, body := range t.calls {
		if strings.Contains(body, "<RetrievePropertiesEx ") && strings.Contains(body, ">"+ref.Value+"<") {
			n++
		}
	}
	return n
}

// A Refresh that has to read its object twice keeps nobody else waiting.
func TestRefreshHoldsNobodyUp(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	tap := newTap(t, v)
	tap.CallTimeout = 2 * time.Minute
	f := startAt(t, v, tap.Config, nil)
	f.synced()
	b := f.admin()
	db, cache := f.find(b, "Namespaces/team-a/db-1"), f.find(b, "Namespaces/team-b/cache-1")

	first, second := make(chan struct{}), make(chan struct{})
	released := sync.OnceFunc(func() { close(second) })
	defer released()
	reads := 0
	tap.mu.Lock()
	tap.hold = func(method, body string) <-chan struct{} {
		if method != "RetrievePropertiesEx" || !strings.Contains(body, ">"+db.Reference().Value+"<") {
			return nil
		}
		reads++
		if reads == 1 {
			return first
		}
		return second
	}
	tap.mu.Unlock()
	held := func(n int) func() bool {
		return func() bool {
			tap.mu.Lock()
			defer tap.mu.Unlock()
			return reads >= n
		}
	}

	var writer sync.WaitGroup
	writer.Go(func() {
		if err := f.collector.Refresh(t.Context(), db.Reference()); err != nil {
			t.Errorf("Refresh() = %v", err)
		}
	})
	waittest.Eventually(t, "the first reading", held(1))
	f.do(db.Reconfigure(t.Context(), extraConfig("faster")))
	waittest.Eventually(t, "the stream was faster", func() bool { return f.mirror.vm("db-1")[metadataPath] != nil })
	close(first)
	waittest.Eventually(t, "the second reading", held(2))

	other := make(chan error, 1)
	go func() { other <- f.collector.Refresh(t.Context(), cache.Reference()) }()
	select {
	case err := <-other:
		if err != nil {
			t.Errorf("Refresh() of another = %v", err)
		}
	case <-time.After(time.Minute): // Less than a call may take.
		t.Error("another Refresh waits")
	}
	f.do(cache.Reconfigure(t.Context(), extraConfig("passes")))
	waittest.Eventually(t, "the stream goes on", func() bool { return f.mirror.vm("cache-1")[metadataPath] != nil })
	released()
	writer.Wait()
}

// What a set that takes something away costs besides the wait: one call.
func TestLeavingIsConfirmedOnce(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	tap := newTap(t, v)
	f := startAt(t, v, tap.Config, nil)
	f.synced()
	b := f.admin()
	web, db := f.find(b, "Namespaces/team-a/web-1"), f.find(b, "Namespaces/team-a/db-1")
	f.do(web.PowerOff(t.Context()))
	waittest.Eventually(t, "power off", func() bool {
		return f.mirror.vm("web-1")["runtime.powerState"] == types.VirtualMachinePowerStatePoweredOff
	})
	f.do(db.Destroy(t.Context()))
	waittest.Eventually(t, "the machine is gone", func() bool { return f.mirror.vm("db-1") == nil })
	if n := tap.reads(web.Reference()); n != 0 {
		t.Errorf("a change took %d more calls", n)
	}
	if n := tap.reads(db.Reference()); n != 1 {
		t.Errorf("a machine that is gone took %d more calls, want 1", n)
	}
}
