// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// serve answers on the socket until ctx ends.
func (s *Source) serve(ctx context.Context) error {
	// A process that was killed leaves its socket behind.
	if err := os.Remove(s.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control of the synthetic inventory: %w", err)
	}
	listener, err := net.Listen("unix", s.Socket)
	if err != nil {
		return fmt.Errorf("control of the synthetic inventory: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /rename", s.rename)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control of the synthetic inventory: %w", err)
	}
	return ctx.Err()
}

func (s *Source) rename(w http.ResponseWriter, request *http.Request) {
	first, err1 := strconv.Atoi(request.FormValue("first"))
	count, err2 := strconv.Atoi(request.FormValue("count"))
	err := errors.Join(err1, err2)
	if err == nil {
		err = s.Rename(first, count, request.FormValue("prefix"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// Control asks for changes of a Source in another process.
type Control struct{ client http.Client }

// NewControl returns a control for the socket of a Source.
func NewControl(socket string) *Control {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}
	return &Control{client: http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: time.Minute}}
}

// Rename does what Source.Rename does, and returns when the API server has taken it in.
func (c *Control) Rename(ctx context.Context, first, count int, prefix string) error {
	form := url.Values{"first": {strconv.Itoa(first)}, "count": {strconv.Itoa(count)}, "prefix": {prefix}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://synthetic/rename",
		strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.client.Do(request)
	if err != nil {
		return fmt.Errorf("change the synthetic inventory: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return fmt.Errorf("change the synthetic inventory: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("change the synthetic inventory: %s", strings.TrimSpace(string(answer)))
	}
	return nil
}
