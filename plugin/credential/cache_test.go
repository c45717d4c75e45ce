// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/plugin/credential"
)

// ring is a keyring in memory. It refuses what err says.
type ring struct {
	entries map[string]string
	err     error
}

func (r *ring) Get(id string) (string, error) {
	if text, ok := r.entries[id]; ok && r.err == nil {
		return text, nil
	}
	return "", errors.Join(fs.ErrNotExist, r.err)
}

func (r *ring) Set(id, value string) error {
	if r.err == nil {
		r.entries[id] = value
	}
	return r.err
}

func (r *ring) Delete(id string) error {
	delete(r.entries, id)
	return r.err
}

var key = credential.Key{Server: "10.0.1.10", Username: "dev@vsphere.local"}

func token() credential.Token {
	return credential.Token{Value: "a.b.c", Expires: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// TestStorages keeps a token in each way, and says where it is afterwards.
func TestStorages(t *testing.T) {
	tooBig := errors.New("data passed to Set was too big")
	tests := []struct {
		name          string
		storage       string
		keyring       *ring
		inRing, file  bool
		saves, loaded bool
	}{
		{"auto with a keyring", credential.Auto, &ring{}, true, false, true, true},
		{"auto without", credential.Auto, nil, false, true, true, true},
		{"auto with a keyring that is full", credential.Auto, &ring{err: tooBig}, false, true, true, true},
		{"keyring", credential.Ring, &ring{}, true, false, true, true},
		{"keyring that is full", credential.Ring, &ring{err: tooBig}, false, false, false, false},
		{"no keyring", credential.Ring, nil, false, false, false, false},
		{"file", credential.Disk, &ring{}, false, true, true, true},
		{"none", credential.Never, &ring{}, false, false, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cache := &credential.Cache{Storage: test.storage, Directory: filepath.Join(t.TempDir(), "tokens")}
			if test.keyring != nil {
				test.keyring.entries = map[string]string{}
				cache.Keyring = test.keyring
			}
			if err := cache.Save(t.Context(), key, token()); (err == nil) != test.saves {
				t.Fatalf("Save: %v", err)
			}
			files, _ := filepath.Glob(filepath.Join(cache.Directory, "*"))
			inRing := test.keyring != nil && len(test.keyring.entries) > 0
			if inRing != test.inRing || (len(files) > 0) != test.file {
				t.Errorf("in the keyring %v, in files %v", inRing, files)
			}
			for _, name := range files {
				if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v, %v", name, info.Mode(), err)
				}
				if info, _ := os.Stat(cache.Directory); info.Mode().Perm() != 0o700 {
					t.Errorf("the folder has mode %v", info.Mode())
				}
			}
			var want *credential.Token
			if saved := token(); test.loaded {
				want = &saved
			}
			got, err := cache.Load(t.Context(), key)
			if err != nil && test.saves {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := cache.Forget(t.Context(), key); err != nil && test.saves {
				t.Fatal(err)
			}
			if got, _ := cache.Load(t.Context(), key); got != nil {
				t.Error("it is still there after Forget")
			}
		})
	}
}

// TestOthersToken holds that nobody gets a token that is not for the key.
func TestOthersToken(t *testing.T) {
	cache := &credential.Cache{Storage: credential.Disk, Directory: t.TempDir()}
	if err := cache.Save(t.Context(), key, token()); err != nil {
		t.Fatal(err)
	}
	for _, other := range []credential.Key{
		{Server: "10.0.1.11", Username: "dev@vsphere.local"},
		{Server: "10.0.1.10", Username: "ops@vsphere.local"},
		{Server: "10.0.1.10", Username: "dev@vsphere.local", Cluster: "shop"},
		{Server: "10.0.1.10dev@vsphere.local"},
	} {
		if got, err := cache.Load(t.Context(), other); got != nil || err != nil {
			t.Errorf("%+v: %v, %v", other, got, err)
		}
	}
	// Not even when its file gets to the place of the other's.
	files, _ := filepath.Glob(filepath.Join(cache.Directory, "*.json"))
	other := credential.Key{Server: "10.0.1.10", Username: "ops@vsphere.local"}
	if err := cache.Save(t.Context(), other, token()); err != nil {
		t.Fatal(err)
	}
	both, _ := filepath.Glob(filepath.Join(cache.Directory, "*.json"))
	for _, name := range both {
		if name != files[0] {
			if err := os.Rename(files[0], name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, _ := cache.Load(t.Context(), other); got != nil {
		t.Error("a token of somebody else was taken")
	}
}

const holder = "PACIFIC_TEST_HOLDER"

// TestLockOfTwoProcesses holds a lock in a process that is then killed: until
// then nobody else gets it, and from then on the next.
func TestLockOfTwoProcesses(t *testing.T) {
	cache := &credential.Cache{Storage: credential.Disk, Directory: os.Getenv(holder)}
	if cache.Directory != "" {
		release, err := cache.Lock(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if err := os.WriteFile(filepath.Join(cache.Directory, "held"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		<-t.Context().Done() // killed before that
	}
	cache.Directory = t.TempDir()
	command := exec.Command(os.Args[0], "-test.run=^TestLockOfTwoProcesses$")
	command.Env = append(os.Environ(), holder+"="+cache.Directory)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(cache.Directory, "held")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the other process does not lock")
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := cache.Lock(short, key); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("two hold the lock: %v", err)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	long, cancelLong := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancelLong()
	release, err := cache.Lock(long, key)
	if err != nil {
		t.Fatalf("the lock is not released with the process: %v", err)
	}
	release()
}

func TestRefusalIsForgotten(t *testing.T) {
	cache := &credential.Cache{Storage: credential.Disk, Directory: t.TempDir()}
	if _, refused := cache.Refused(key, time.Now()); refused {
		t.Error("refused before anybody asked")
	}
	if err := cache.NoteRefusal(key); err != nil {
		t.Fatal(err)
	}
	if _, refused := cache.Refused(key, time.Now()); !refused {
		t.Error("the refusal is not remembered")
	}
	if _, refused := cache.Refused(key, time.Now().Add(2*time.Minute)); refused {
		t.Error("the refusal is remembered for ever")
	}
}

func TestArguments(t *testing.T) {
	want := &credential.Options{
		Server: "10.0.1.10", Username: "a b;$(c)@vsphere.local", Cluster: "shop", Namespace: "team-a",
		Storage: credential.Disk, CAFile: "/etc/my ca.pem", Insecure: true,
	}
	got, ours := credential.ParseArguments(want.Arguments())
	if diff := cmp.Diff(want, got); diff != "" || !ours {
		t.Errorf("ours %v (-want +got):\n%s", ours, diff)
	}
	if _, ours := credential.ParseArguments([]string{"eks", "get-token"}); ours {
		t.Error("somebody else's arguments are taken for ours")
	}
}

// TestStart holds the start of the program, with a cached token, under 40 ms: it
// is run before each command of kubectl. The median is compared, because others
// use the computer too.
func TestStart(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kubectl-vsphere")
	if out, err := exec.Command("go", "build", "-o", program,
		"github.com/openpacific/pacific/cmd/kubectl-vsphere").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("AppData", home)
	config, err := os.UserConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(config, "kubectl-vsphere", "tokens")
	big := credential.Token{Value: strings.Repeat("a", 4000), Expires: token().Expires}
	if err := (&credential.Cache{Storage: credential.Disk, Directory: state}).Save(t.Context(), key, big); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for range 21 {
		options := credential.Options{Server: key.Server, Username: key.Username, Storage: credential.Disk}
		command := exec.Command(program, options.Arguments()...)
		out, err := command.Output()
		took = append(took, command.ProcessState.UserTime()+command.ProcessState.SystemTime())
		if err != nil || !strings.Contains(string(out), big.Value) {
			t.Fatalf("%v: %s", err, out)
		}
	}
	slices.Sort(took)
	t.Log("median " + took[len(took)/2].String() + " of " + strconv.Itoa(len(took)))
	if took[len(took)/2] > 40*time.Millisecond {
		t.Errorf("it takes %v", took)
	}
}
