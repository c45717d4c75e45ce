// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/openpacific/pacific/pkg/failure"
)

// TestAnAnswerThatBreaksOff: half of a descriptor is not a bad one. What cannot be used is not read again before
// somebody changes the item, and this one can.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	descriptor := "<Envelope>" + of(1, 1) + "</Envelope>"
	for name, headers := range map[string]string{
		"with a length": fmt.Sprintf("Content-Length: %d\r\n\r\n", len(descriptor)),
		"in pieces":     fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(descriptor)),
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				connection, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer connection.Close()
				fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\n%s%s", headers, descriptor[:len(descriptor)/2])
			}))
			t.Cleanup(server.Close)
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := read(server.Client(), request, nil); !errors.Is(err, failure.Unavailable) ||
				errors.Is(err, errUnusable) {
				t.Errorf("got %v", err)
			}
		})
	}
}
