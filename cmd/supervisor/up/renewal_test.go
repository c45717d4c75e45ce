// SPDX-License-Identifier: Apache-2.0

package up

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	certutil "k8s.io/client-go/util/cert"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/pki"
	"github.com/openpacific/pacific/pkg/waittest"
)

// renewed is a renewal that runs under a clock that the test moves.
type renewed struct {
	*renewal
	clock *clocktesting.FakeClock

	mu   sync.Mutex
	said []string
}

func startRenewal(t *testing.T) *renewed {
	t.Helper()
	dir, err := datadir.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	store := pki.Store{Dir: dir.PKI(), Clock: clock}
	authorities, _, err := openAuthorities(store, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	r := &renewed{clock: clock, renewal: &renewal{
		store: store, clock: clock, authorities: authorities, hosts: []string{"localhost"}, dir: dir,
		server: "https://localhost:6443",
	}}
	if _, made, err := r.issue(); err != nil || len(made) != 12 {
		t.Fatalf("the first time: made %v, %v", made, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.run(ctx, r.say) })
	t.Cleanup(func() { cancel(); running.Wait() })
	waittest.Within(t, 10*time.Second, "the renewal to wait", func(context.Context) error {
		if !clock.HasWaiters() {
			return errors.New("it does not")
		}
		return nil
	})
	return r
}

func (r *renewed) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

// tells waits until something is said that contains the words, and forgets what was said until then.
func (r *renewed) tells(t *testing.T, words string) string {
	t.Helper()
	var told string
	waittest.Within(t, 10*time.Second, words, func(context.Context) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i, sentence := range r.said {
			if strings.Contains(sentence, words) {
				told, r.said = sentence, r.said[i+1:]
				return nil
			}
		}
		return fmt.Errorf("only %q is said", r.said)
	})
	return told
}

// TestRenewalWhileRunning passes eight months and then some: all certificates are made anew when a third of their year
// is left, admin.kubeconfig with them, and the authorities stay.
func TestRenewalWhileRunning(t *testing.T) {
	t.Parallel()
	r := startRenewal(t)
	read := func() map[string][]byte {
		files := map[string][]byte{}
		paths, err := filepath.Glob(filepath.Join(r.dir.PKI(), "*.crt"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if files[filepath.Base(path)], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		return files
	}
	before := read()
	r.clock.Step(pki.DefaultLife*2/3 - time.Hour)
	r.clock.Step(2 * time.Hour)
	if told := r.tells(t, "renewed certificates"); strings.Count(told, ",") != 11 {
		t.Errorf("not all in one: %s", told)
	}
	for name, after := range read() {
		if same := bytes.Equal(before[name], after); same != strings.HasSuffix(name, "ca.crt") {
			t.Errorf("%s is the same: %t", name, same)
		}
	}
	config, err := clientcmd.LoadFromFile(r.dir.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := certutil.ParseCertsPEM(config.AuthInfos["admin"].ClientCertificateData)
	if err != nil {
		t.Fatal(err)
	}
	if left := certificates[0].NotAfter.Sub(r.clock.Now()); left < pki.DefaultLife-time.Hour {
		t.Errorf("admin.kubeconfig is good for %s", left)
	}
}

// TestRenewalGoesOnAfterFailure has a folder that cannot be written to, and then can.
func TestRenewalGoesOnAfterFailure(t *testing.T) {
	t.Parallel()
	r := startRenewal(t)
	// Where the file is prepared lies a folder: that is refused to root as well.
	blocked := filepath.Join(r.dir.PKI(), "etcd.key.new")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	r.clock.Step(pki.DefaultLife)
	if told := r.tells(t, "cannot renew"); !strings.Contains(told, `"etcd"`) {
		t.Errorf("it does not say which: %s", told)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	r.clock.Step(time.Hour)
	r.tells(t, "etcd, ")
}

// TestKubeconfigKeepsWhatPeopleWrote renews the certificate in one whose namespace somebody has set.
func TestKubeconfigKeepsWhatPeopleWrote(t *testing.T) {
	r := startRenewal(t)
	path := r.dir.AdminKubeconfig()
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before := config.AuthInfos["admin"].ClientCertificateData
	config.Contexts["supervisor"].Namespace = "team-a"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	r.clock.Step(pki.DefaultLife)
	r.tells(t, "admin-client")
	waittest.Within(t, 10*time.Second, "the new certificate in admin.kubeconfig", func(context.Context) error {
		if config, err = clientcmd.LoadFromFile(path); err == nil &&
			bytes.Equal(config.AuthInfos["admin"].ClientCertificateData, before) {
			err = errors.New("it is the one before")
		}
		return err
	})
	if got := config.Contexts["supervisor"].Namespace; got != "team-a" {
		t.Errorf("the namespace is %q", got)
	}
}
