// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/cmd/supervisor/process"
)

func create(t *testing.T) Dir {
	t.Helper()
	dir, err := New(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLockHasOneHolder(t *testing.T) {
	dir := create(t)
	if holder, err := dir.Holder(); err != nil || holder != nil {
		t.Fatalf("holder of a new directory = %v, %v", holder, err)
	}
	first := Holder{PID: 4711, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Server: "https://127.0.0.1:6443"}
	release, err := dir.Lock(first)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dir.Lock(Holder{PID: 4712})
	var held *HeldError
	if !errors.As(err, &held) {
		t.Fatalf("second lock: %v", err)
	}
	if diff := cmp.Diff(&HeldError{Dir: dir, Holder: first}, held); diff != "" {
		t.Errorf("who holds it (-want +got):\n%s", diff)
	}
	for _, want := range []string{string(dir), "process 4711", "https://127.0.0.1:6443", "`kill 4711`",
		"another --data-dir"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if holder, err := dir.Holder(); err != nil || !cmp.Equal(&first, holder) {
		t.Errorf("holder = %v, %v", holder, err)
	}

	release()
	release, err = dir.Lock(Holder{PID: 4712})
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	release()
}

func TestStateIsFoundAgain(t *testing.T) {
	dir := create(t)
	if got, err := dir.ReadStatus(); err != nil || !cmp.Equal(Status{}, got) {
		t.Errorf("status of a new directory = %v, %v", got, err)
	}
	want := Status{
		PID: 1, StartedAt: time.Unix(100, 0).UTC(), Ready: true, Server: "https://127.0.0.1:6443",
		VCenter: VCenter{URL: "https://127.0.0.1:1", CredentialsFile: "/a", CAFile: "/b", Simulated: true},
		Components: []process.Status{{Name: "etcd", State: process.Ready, PID: 2, StartedAt: time.Unix(101, 0).UTC(),
			LogFile: "/c"}},
	}
	if err := dir.WriteStatus(want); err != nil {
		t.Fatal(err)
	}
	got, err := dir.ReadStatus()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	ports := Ports{"etcd": 20001}
	if err := dir.WritePorts(ports); err != nil {
		t.Fatal(err)
	}
	if got, err := dir.ReadPorts(); err != nil || !cmp.Equal(ports, got) {
		t.Errorf("ports = %v, %v", got, err)
	}
	if info, err := os.Stat(string(dir)); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may look into the data directory: %v, %v", info.Mode(), err)
	}
}
