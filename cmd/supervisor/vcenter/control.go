// SPDX-License-Identifier: Apache-2.0

package vcenter

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
	"path/filepath"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// ControlSocket is where the simulated vCenter of a data directory is controlled.
func ControlSocket(dataDir string) string { return filepath.Join(dataDir, "vcenter", "control.sock") }

const (
	// longestSocket is what every system accepts as the path of a socket, with fresh behind it.
	longestSocket = 96
	// fresh is at the end of the name of a socket that is not protected yet.
	fresh = ".new"
)

// reach returns a path of bearable length to a socket, through a link where its own is too long.
func reach(socket string) (path string, done func(), err error) {
	if len(socket) <= longestSocket {
		return socket, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "pacific-")
	if err != nil {
		return "", nil, fmt.Errorf("make a link to %s: %w", socket, err)
	}
	done = func() { _ = os.RemoveAll(dir) }
	target, err := filepath.Abs(filepath.Dir(socket))
	if err == nil {
		err = os.Symlink(target, filepath.Join(dir, "d"))
	}
	if err != nil {
		done()
		return "", nil, fmt.Errorf("make a link to %s: %w", socket, err)
	}
	return filepath.Join(dir, "d", filepath.Base(socket)), done, nil
}

// serveControl answers on the socket until ctx ends.
func serveControl(ctx context.Context, socket string, controlled *vcentertest.VCenter) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return fmt.Errorf("make the folder of the control socket: %w", err)
	}
	// The data directory has one owner: what is left there is of a process that died.
	for _, left := range []string{socket, socket + fresh} {
		if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the last control socket: %w", err)
		}
	}
	path, done, err := reach(socket)
	if err != nil {
		return err
	}
	defer done()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + fresh, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen on the control socket: %w", err)
	}
	// It has its name only once nobody else may use it.
	listener.SetUnlinkOnClose(false)
	defer func() { _ = os.Remove(socket) }()
	if err := errors.Join(os.Chmod(socket+fresh, 0o600), os.Rename(socket+fresh, socket)); err != nil {
		_ = listener.Close()
		return fmt.Errorf("protect the control socket: %w", err)
	}

	server := &http.Server{Handler: controls(controlled), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
		_ = server.Close()
		<-failed
		return nil
	case err := <-failed:
		return fmt.Errorf("serve the control socket: %w", err)
	}
}

// controls are the verbs that are heard on the socket.
func controls(controlled *vcentertest.VCenter) http.Handler {
	mux := http.NewServeMux()
	for verb, act := range map[string]func(url.Values) error{
		"stop": func(url.Values) error { controlled.Stop(); return nil },
		"start": func(url.Values) error {
			if controlled.Running() {
				return nil
			}
			return controlled.Restart()
		},
		"restart":   func(url.Values) error { return controlled.Restart() },
		"role/take": func(v url.Values) error { return controlled.TakeRole(v.Get("at"), v.Get("account")) },
		"role/give": func(v url.Values) error { return controlled.GiveRole(v.Get("at"), v.Get("account")) },
		"question/ask": func(v url.Values) error {
			return controlled.Ask(types.ManagedObjectReference{Type: "VirtualMachine", Value: v.Get("machine")}, v.Get("text"),
				v["choice"]...)
		},
		"datastore/lose": func(v url.Values) error { return controlled.LoseDatastore(v.Get("name")) },
		"datastore/find": func(v url.Values) error { return controlled.FindDatastore(v.Get("name")) },
	} {
		mux.HandleFunc("POST /"+verb, func(w http.ResponseWriter, r *http.Request) {
			if err := act(r.URL.Query()); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	return mux
}

// control asks the simulated vCenter to do something that no VI admin could, such as to stop.
func control(ctx context.Context, socket, verb string, values url.Values) error {
	path, done, err := reach(socket)
	if err != nil {
		return err
	}
	defer done()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://vcenter/"+verb+"?"+values.Encode(), nil)
	if err != nil {
		return fmt.Errorf("%s: the simulated vCenter: %w", verb, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: nobody answers on %s, is `supervisor up --sim` running?", verb, socket)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return fmt.Errorf("%s: %s", verb, strings.TrimSpace(string(text)))
	}
	return nil
}
