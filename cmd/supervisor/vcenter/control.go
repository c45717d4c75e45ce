// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
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
	mux.HandleFunc("POST /"+guestPorts, func(w http.ResponseWriter, r *http.Request) {
		var ports map[netip.Addr][]uint16
		if err := json.NewDecoder(r.Body).Decode(&ports); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(controlled.Servers().Tell(ports))
	})
	return mux
}

// guestPorts is the verb of TellGuests.
const guestPorts = "guests/ports"

// TellGuests tells the guests of the simulated vCenter which ports services lead to, by the addresses that vCenter
// tells. It returns the ports on which they cannot answer, each in a sentence.
func TellGuests(ctx context.Context, socket string, ports map[netip.Addr][]uint16) (problems []string, err error) {
	body, err := json.Marshal(ports)
	if err != nil {
		return nil, fmt.Errorf("tell the guests their ports: %w", err)
	}
	answer, err := post(ctx, socket, guestPorts, nil, bytes.NewReader(body))
	if err == nil {
		err = json.Unmarshal(answer, &problems)
	}
	return problems, err
}

// control asks the simulated vCenter to do something that no VI admin could, such as to stop.
func control(ctx context.Context, socket, verb string, values url.Values) error {
	_, err := post(ctx, socket, verb, values, nil)
	return err
}

// post sends something to the simulated vCenter and returns its answer.
func post(ctx context.Context, socket, verb string, values url.Values, body io.Reader) ([]byte, error) {
	path, done, err := reach(socket)
	if err != nil {
		return nil, err
	}
	defer done()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://vcenter/"+verb+"?"+values.Encode(), body)
	if err != nil {
		return nil, fmt.Errorf("%s: the simulated vCenter: %w", verb, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s: nobody answers on %s, is `supervisor up --sim` running?", verb, socket)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: the simulated vCenter: %w", verb, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", verb, strings.TrimSpace(string(text)))
	}
	return text, nil
}
