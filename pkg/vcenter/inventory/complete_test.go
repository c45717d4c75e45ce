// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

var soapMethod = regexp.MustCompile(`<Body[^>]*>\s*<(\w+)`)

var objectSet = regexp.MustCompile(`(?s)<objectSet>.*?</objectSet>`)

// unsaid leaves out of an answer the objects of which something is kept from the account.
func unsaid(response *http.Response) error {
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	body = objectSet.ReplaceAllFunc(body, func(object []byte) []byte {
		if bytes.Contains(object, []byte("<missingSet>")) {
			return nil
		}
		return object
	})
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	response.Header.Del("Content-Length")
	return nil
}

// before is a way to vCenter on which somebody does something before a call goes on, and answers are changed.
func before(t *testing.T, v *vcentertest.VCenter, do func(method string),
	change func(*http.Response) error) vcenter.Config {
	t.Helper()
	target := v.URL()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: target.Scheme, Host: target.Host})
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // It is in this process.
	proxy.ModifyResponse = change
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if found := soapMethod.FindSubmatch(body); found != nil {
			do(string(found[1]))
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.Header.Del("Accept-Encoding")
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(server.URL + target.Path)
	if err != nil {
		t.Fatal(err)
	}
	return vcenter.Config{URL: address, CAFile: authority}
}

// A role that goes away while a process that begins reads the inventory, and comes back, hides nothing: what is not
// told to clients then counts as deleted. vCenter may say what it keeps from the account, or leave it out.
func TestRoleIsAwayWhileTheInventoryIsRead(t *testing.T) {
	const folder = "/DC0/vm/Namespaces/team-a"
	tests := []struct {
		name   string
		change func(*http.Response) error
	}{{"vCenter says so", nil}, {"vCenter leaves it out", unsaid}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := vcentertest.Run(t, vcentertest.Options{})
			var mu sync.Mutex
			step := []struct {
				at string
				do func(path, account string) error
			}{{"WaitForUpdatesEx", v.TakeRole}, {"RetrievePropertiesEx", v.GiveRole}}
			config := before(t, v, func(method string) {
				mu.Lock()
				defer mu.Unlock()
				if len(step) > 0 && step[0].at == method {
					if err := step[0].do(folder, account); err != nil {
						t.Error(err)
					}
					step = step[1:]
				}
			}, test.change)
			config.CredentialsFile = filepath.Join(t.TempDir(), "credentials.yaml")
			content := "username: " + strconv.Quote(account) + "\npassword: " + strconv.Quote(vcentertest.SamplePassword) + "\n"
			if err := os.WriteFile(config.CredentialsFile, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			f := startAt(t, v, config, nil)
			f.synced()
			for _, name := range []string{"web-1", "db-1", "cache-1"} {
				if f.mirror.vm(name) == nil {
					t.Errorf("%s is not told of at the beginning", name)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if len(step) > 0 {
				t.Errorf("it was never so far as %s", step[0].at)
			}
		})
	}
}
