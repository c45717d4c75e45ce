// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

// startDeadline is how long the Supervisor may take to be ready.
const startDeadline = 2 * time.Minute

// supervisor is the one that all tests of this package use. TestMain sets it
// before any of them runs.
var supervisor running

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run runs the tests between the start and the end of a Supervisor. After a
// failure its folder stays.
func run(m *testing.M) (code int, err error) {
	folder, err := os.MkdirTemp("", "pacific-clients-")
	if err != nil {
		return 1, err
	}
	defer func() {
		if code == 0 && err == nil {
			err = os.RemoveAll(folder)
			return
		}
		fmt.Println("what is left of the failed run, logs included:", folder)
	}()
	binary, err := supervisortest.Build(folder)
	if err != nil {
		return 1, err
	}
	supervisor = running{&supervisortest.Supervisor{Binary: binary, Dir: datadir.Dir(filepath.Join(folder, "data")), Port: supervisortest.FreePort()}}
	if err := supervisor.Start("--sim"); err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	code = 1
	if err = supervisor.WaitReady(ctx); err == nil {
		code = m.Run()
	}
	return code, errors.Join(err, supervisor.Stop())
}

// running is a Supervisor that is ready.
type running struct{ *supervisortest.Supervisor }

// config is that of the administrator.
func (r running) config(t *testing.T) *rest.Config {
	t.Helper()
	config, err := r.Config()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// get returns what the aggregator answers to a GET for JSON.
func (r running) get(t *testing.T, path string) []byte {
	t.Helper()
	client, err := kubernetes.NewForConfig(r.config(t))
	if err != nil {
		t.Fatal(err)
	}
	data, err := client.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(t.Context())
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return data
}

// kubectl types `kubectl …` and returns what it prints to both of its outputs.
func (r running) kubectl(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	return r.Try(t.Context(), append([]string{"kubectl"}, arguments...)...)
}
