// SPDX-License-Identifier: Apache-2.0

package kubeconfig_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/openpacific/pacific/plugin/kubeconfig"
)

// foreign are kubeconfigs that people have, in the ways they are written.
var foreign = map[string]string{
	"missing":      "",
	"comment only": "# nothing yet\n",
	"kubectl's": `apiVersion: v1
clusters:
- cluster:
    server: https://home:6443
  name: home
contexts:
- context:
    cluster: home
    user: me
  name: home
current-context: home
kind: Config
preferences: {}
users:
- name: me
  user:
    token: secret
`,
	"indented, no end of line": `apiVersion: v1
kind: Config
current-context: home
clusters:
    # under the desk
    - name: home
      cluster:
        server: https://home:6443
        certificate-authority-data: |
          LS0t
          LS0t

    # far away
    - name: away
      cluster:
        server: https://away:6443
users:
    -
      name: me
      user: {token: secret}
contexts:
    - {name: home, context: {cluster: home, user: me}}`,
	"empty lists": `apiVersion: v1
kind: Config
clusters: []
contexts: null
users:
current-context: ""
`,
	"Windows": "apiVersion: v1\r\nkind: Config\r\nclusters:\r\n- cluster:\r\n    server: https://home:6443\r\n  name: " +
		"home\r\ncontexts:\r\n- context:\r\n    cluster: home\r\n    user: me\r\n  name: home\r\nusers:\r\n- name: me\r\n  " +
		"user:\r\n    token: secret\r\n",
	"JSON": `{"apiVersion":"v1","kind":"Config","clusters":[{"name":"home","cluster":{"server":"https://home:6443"}}],"users":[{"name":"me","user":{"token":"secret"}}],"contexts":[{"name":"home","context":{"cluster":"home","user":"me"}}],"current-context":"home"}`,
	"anchors": `apiVersion: v1
kind: Config
clusters:
- name: home
  cluster: &home
    server: https://home:6443
- name: alias
  cluster: *home
users: []
contexts: []
---
`,
}

// ours are the entries of a login.
func ours() *kubeconfig.Changes {
	current := "10.0.1.10"
	return &kubeconfig.Changes{
		Clusters: map[string]kubeconfig.Cluster{"10.0.1.10": {Server: "https://10.0.1.10:6443",
			CertificateAuthorityData: "LS0tLS1CRUdJTg=="}},
		Contexts: map[string]kubeconfig.Context{
			"10.0.1.10": {Cluster: "10.0.1.10", User: "wcp:10.0.1.10:dev@vsphere.local"},
			"team-a":    {Cluster: "10.0.1.10", User: "wcp:10.0.1.10:dev@vsphere.local", Namespace: "team-a"},
		},
		Users:          map[string]kubeconfig.User{"wcp:10.0.1.10:dev@vsphere.local": {Token: "a.b.c"}},
		CurrentContext: &current,
	}
}

func removal() *kubeconfig.Changes {
	return &kubeconfig.Changes{
		RemoveClusters: []string{"10.0.1.10"}, RemoveContexts: []string{"10.0.1.10", "team-a"},
		RemoveUsers: []string{"wcp:10.0.1.10:dev@vsphere.local"}, CurrentContext: new(string),
	}
}

// edit applies changes to a file.
func edit(t *testing.T, path string, changes *kubeconfig.Changes) {
	t.Helper()
	files := &kubeconfig.Files{Paths: []string{path}}
	if err := files.Edit(t.Context(), func(*kubeconfig.Config) (*kubeconfig.Changes, error) {
		return changes, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// load is client-go's view of a file, without where things come from.
func load(t *testing.T, path string) *api.Config {
	t.Helper()
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatalf("client-go cannot read the file: %v\n%s", err, read(t, path))
	}
	for _, one := range config.Clusters {
		one.LocationOfOrigin = ""
	}
	for _, one := range config.Contexts {
		one.LocationOfOrigin = ""
	}
	for _, one := range config.AuthInfos {
		one.LocationOfOrigin = ""
	}
	return config
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestEdit logs in and out in each file, and asks client-go what is in it.
func TestEdit(t *testing.T) {
	for name, text := range foreign {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			before := api.NewConfig()
			if name != "missing" {
				if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
					t.Fatal(err)
				}
				before = load(t, path)
			}
			edit(t, path, ours())
			wanted := before.DeepCopy()
			wanted.CurrentContext = "10.0.1.10"
			cluster, user, server, namespace := api.NewCluster(), api.NewAuthInfo(), api.NewContext(), api.NewContext()
			cluster.Server, cluster.CertificateAuthorityData = "https://10.0.1.10:6443", []byte("-----BEGIN")
			user.Token = "a.b.c"
			server.Cluster, server.AuthInfo = "10.0.1.10", "wcp:10.0.1.10:dev@vsphere.local"
			namespace.Cluster, namespace.AuthInfo, namespace.Namespace = server.Cluster, server.AuthInfo, "team-a"
			wanted.Clusters["10.0.1.10"], wanted.AuthInfos[server.AuthInfo] = cluster, user
			wanted.Contexts["10.0.1.10"], wanted.Contexts["team-a"] = server, namespace
			if diff := cmp.Diff(wanted, load(t, path), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("after the login client-go reads (-want +got):\n%s\n%s", diff, read(t, path))
			}
			once := read(t, path)
			edit(t, path, ours())
			if diff := cmp.Diff(once, read(t, path)); diff != "" {
				t.Errorf("a second login changes the file (-first +second):\n%s", diff)
			}
			edit(t, path, removal())
			wanted = before.DeepCopy()
			wanted.CurrentContext = ""
			if diff := cmp.Diff(wanted, load(t, path), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("after the logout client-go reads (-want +got):\n%s\n%s", diff, read(t, path))
			}
			if info, err := os.Stat(path); err != nil || name != "missing" && info.Mode().Perm() != 0o640 || name == "missing" &&
				info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// TestForeignBytes holds that each line that was there before a login is there
// after it and after the logout, in its order; but for the current context and
// lists that were empty.
func TestForeignBytes(t *testing.T) {
	for name, text := range foreign {
		if name == "JSON" || name == "missing" {
			continue // written anew from the values; TestEdit holds those
		}
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			edit(t, path, ours())
			during := read(t, path)
			edit(t, path, removal())
			after := read(t, path)
			for _, line := range strings.Split(text, "\n") {
				bare := strings.TrimSpace(line)
				if strings.HasPrefix(bare, "current-context:") || slices.Contains(
					[]string{"clusters: []", "contexts: null", "contexts: []", "users: []", "users:"}, bare) {
					continue
				}
				for when, got := range map[string]string{"login": during, "logout": after} {
					if !strings.Contains("\n"+got, "\n"+line) {
						t.Errorf("after the %s there is no line %q:\n%s", when, line, got)
					}
				}
			}
		})
	}
}

func TestSymbolicLink(t *testing.T) {
	directory := t.TempDir()
	target, link := filepath.Join(directory, "real"), filepath.Join(directory, "config")
	if err := errors.Join(os.WriteFile(target, nil, 0o600), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	edit(t, link, ours())
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v %v", info, err)
	}
	if !strings.Contains(read(t, target), "10.0.1.10") {
		t.Error("the file behind the link has not changed")
	}
}

// TestFailedPlan holds that a file is not touched when there is nothing to write.
func TestFailedPlan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	files := &kubeconfig.Files{Paths: []string{path}}
	wanted := errors.New("no")
	err := files.Edit(t.Context(), func(*kubeconfig.Config) (*kubeconfig.Changes, error) { return nil, wanted })
	if !errors.Is(err, wanted) {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestLocked waits for kubectl's lock, and says so when it is not released.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path+".lock", nil, 0); err != nil {
		t.Fatal(err)
	}
	files := &kubeconfig.Files{Paths: []string{path}}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := files.Edit(ctx, func(*kubeconfig.Config) (*kubeconfig.Changes, error) { return ours(), nil })
	if err == nil || !strings.Contains(err.Error(), path+".lock exists") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the file was written without the lock")
	}
}

const editors = "PACIFIC_TEST_EDITOR"

// TestTwoProcesses lets processes log in at once, and one use kubectl's own
// code: nobody loses an entry.
func TestTwoProcesses(t *testing.T) {
	const each = 20
	if who := os.Getenv(editors); who != "" {
		for i := range each {
			name := fmt.Sprintf("%s-%d", who, i)
			edit(t, os.Getenv("KUBECONFIG"), &kubeconfig.Changes{Users: map[string]kubeconfig.User{name: {Token: "t"}}})
		}
		return
	}
	path := filepath.Join(t.TempDir(), "config")
	var running []*exec.Cmd
	wanted := map[string]bool{}
	for _, who := range []string{"a", "b"} {
		for i := range each {
			wanted[fmt.Sprintf("%s-%d", who, i)] = true
		}
		command := exec.Command(os.Args[0], "-test.run=^TestTwoProcesses$")
		command.Env = append(os.Environ(), editors+"="+who, "KUBECONFIG="+path)
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, command)
	}
	for i := range each { // kubectl config set-credentials
		name := fmt.Sprintf("kubectl-%d", i)
		wanted[name] = true
		options := clientcmd.NewDefaultPathOptions()
		options.GlobalFile, options.EnvVar = path, ""
		for {
			// It fails when somebody else holds the lock, and when it has read
			// and not yet locked it loses what came between: so it takes the lock
			// first here, by trying until nobody else wrote in between.
			lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_EXCL, 0)
			if err != nil {
				time.Sleep(2 * time.Millisecond)
				continue
			}
			lock.Close()
			config, err := clientcmd.LoadFromFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				config, err = api.NewConfig(), nil
			}
			if err == nil {
				config.AuthInfos[name] = &api.AuthInfo{Token: "t"}
				err = clientcmd.WriteToFile(*config, path)
			}
			if err := errors.Join(err, os.Remove(path+".lock")); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	for _, command := range running {
		if err := command.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]bool{}
	for name := range load(t, path).AuthInfos {
		got[name] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(wanted)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestOwner(t *testing.T) {
	tests := []struct {
		name             string
		server, username string
		ours             bool
	}{
		{"wcp:10.0.1.10:dev@vsphere.local", "10.0.1.10", "dev@vsphere.local", true},
		{"wcp:localhost:8443:dev@vsphere.local", "localhost:8443", "dev@vsphere.local", true},
		{"wcp:fd00::1:dev", "fd00::1", "dev", true},
		{"wcp:", "", "", false},
		{"wcp-admin", "", "", false},
		{"kubernetes-admin", "", "", false},
	}
	for _, test := range tests {
		server, username, ours := kubeconfig.Owner(test.name)
		if server != test.server || username != test.username || ours != test.ours {
			t.Errorf("Owner(%q) = %q, %q, %v", test.name, server, username, ours)
		}
	}
}

// FuzzEdit edits what people might have in a file. Whatever client-go reads
// there, it reads afterwards, and our entries with it.
func FuzzEdit(f *testing.F) {
	for _, text := range foreign {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := clientcmd.LoadFromFile(path)
		if err != nil {
			return
		}
		files := &kubeconfig.Files{Paths: []string{path}}
		err = files.Edit(t.Context(), func(*kubeconfig.Config) (*kubeconfig.Changes, error) { return ours(), nil })
		if err != nil {
			if read(t, path) != text {
				t.Errorf("the edit failed, and changed the file: %v", err)
			}
			return
		}
		after := load(t, path)
		for name, cluster := range before.Clusters {
			cluster.LocationOfOrigin = ""
			if name != "10.0.1.10" && !cmp.Equal(cluster, after.Clusters[name], cmpopts.EquateEmpty()) {
				t.Errorf("cluster %q: %s", name, cmp.Diff(cluster, after.Clusters[name]))
			}
		}
		if after.CurrentContext != "10.0.1.10" || after.Contexts["team-a"] == nil {
			t.Errorf("our entries are missing:\n%s", read(t, path))
		}
	})
}
