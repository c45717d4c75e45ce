// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// person is somebody at a terminal of their own, with a kubeconfig of their own
// and nothing else.
type person struct {
	*supervisor
	name       string
	kubeconfig string
}

func (s *supervisor) person(t *testing.T, name string) *person {
	t.Helper()
	return &person{supervisor: s, name: name, kubeconfig: filepath.Join(t.TempDir(), "config")}
}

// types runs `kubectl …` and returns what it prints to both of its outputs.
func (p *person) types(t *testing.T, password string, arguments ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(tests.path, "kubectl"), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+p.kubeconfig, "HOME="+filepath.Dir(p.kubeconfig),
		"PATH="+tests.path+string(os.PathListSeparator)+os.Getenv("PATH"), "TERM=dumb")
	if password != "" {
		command.Env = append(command.Env, "KUBECTL_VSPHERE_PASSWORD="+password)
	}
	out, err := command.CombinedOutput()
	return string(out), err
}

func (p *person) login(t *testing.T, password string) (string, error) {
	t.Helper()
	ports, err := p.Dir.ReadPorts()
	if err != nil {
		t.Fatal(err)
	}
	return p.types(t, password, "vsphere", "login", "--server", fmt.Sprintf("localhost:%d", ports["login"]), "-u", p.name,
		"--certificate-authority", filepath.Join(p.Dir.PKI(), "ca.crt"))
}

// can are the verbs on virtual machines that kubectl says are allowed.
func (p *person) can(t *testing.T, namespace string) []string {
	t.Helper()
	verbs := []string{}
	for _, verb := range []string{"get", "list", "watch", "patch", "delete"} {
		out, err := p.types(t, "", "auth", "can-i", verb, "virtualmachines.vmoperator.vmware.com", "-n", namespace)
		switch answer := strings.TrimSpace(out); {
		case answer == "yes":
			verbs = append(verbs, verb)
		case !strings.HasSuffix(answer, "no"):
			t.Fatalf("can-i %s in %s: %v\n%s", verb, namespace, err, out)
		}
	}
	return verbs
}

func (s *supervisor) administratorPassword(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(s.Dir.VCenterCredentials())
	if err != nil {
		t.Fatal(err)
	}
	var credentials struct{ Password string }
	if err := yaml.Unmarshal(data, &credentials); err != nil {
		t.Fatal(err)
	}
	return credentials.Password
}

// TestPeopleLogIn logs everybody of the simulated vCenter in and holds what they
// may do to their roles.
func TestPeopleLogIn(t *testing.T) {
	t.Parallel()
	s := running(t)
	read, write := []string{"get", "list", "watch"}, []string{"get", "list", "watch", "patch", "delete"}
	for name, want := range map[string]struct {
		password string
		contexts []string
		can      map[string][]string
	}{
		"administrator": {s.administratorPassword(t), []string{"team-a", "team-b"}, map[string][]string{"team-a": write, "team-b": write}},
		"dev-a":         {vcentertest.SamplePassword, []string{"team-a"}, map[string][]string{"team-a": write, "team-b": {}}},
		"viewer":        {vcentertest.SamplePassword, []string{"team-a"}, map[string][]string{"team-a": read, "team-b": {}}},
		"owner-b":       {vcentertest.SamplePassword, []string{"team-b"}, map[string][]string{"team-a": {}, "team-b": write}},
		"nobody":        {vcentertest.SamplePassword, nil, map[string][]string{"team-a": {}, "team-b": {}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.person(t, name+"@vsphere.local")
			out, err := p.login(t, want.password)
			if err != nil {
				t.Fatalf("login: %v\n%s", err, out)
			}
			if strings.Contains(out, want.password) {
				t.Error("the login prints the password")
			}
			config, err := os.ReadFile(p.kubeconfig)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(config), want.password) {
				t.Error("the kubeconfig holds the password")
			}
			contexts, err := p.types(t, "", "config", "get-contexts", "-o", "name")
			if err != nil {
				t.Fatal(err)
			}
			for _, namespace := range []string{"team-a", "team-b"} {
				wanted, got := false, strings.Contains("\n"+contexts, "\n"+namespace+"\n")
				for _, context := range want.contexts {
					wanted = wanted || context == namespace
				}
				if got != wanted {
					t.Errorf("a context for %s: %t, want %t; contexts:\n%s", namespace, got, wanted, contexts)
				}
			}
			got := map[string][]string{"team-a": p.can(t, "team-a"), "team-b": p.can(t, "team-b")}
			if diff := cmp.Diff(want.can, got); diff != "" {
				t.Errorf("rights (-want +got):\n%s", diff)
			}
			if len(want.contexts) == 0 {
				if out, err := p.types(t, "", "get", "vm", "-n", "team-a"); err == nil {
					t.Errorf("somebody without rights reads machines:\n%s", out)
				}
				return
			}
			if out, err := p.types(t, "", "--context", want.contexts[0], "get", "vm"); err != nil || !strings.Contains(out, "POWER-STATE") {
				t.Errorf("get vm in the context of a namespace: %v\n%s", err, out)
			}
			if out, err := p.types(t, "", "vsphere", "logout"); err != nil {
				t.Errorf("logout: %v\n%s", err, out)
			}
			if left, err := os.ReadFile(p.kubeconfig); err != nil || strings.Contains(string(left), "token") {
				t.Errorf("after the logout the kubeconfig is (%v):\n%s", err, left)
			}
		})
	}
}

// TestARoleCountsAtOnce changes a role under a token that was handed out before.
func TestARoleCountsAtOnce(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.admin(t)
	namespace := a.namespace(s, "roles")
	p := s.person(t, "nobody@vsphere.local")
	if out, err := p.login(t, vcentertest.SamplePassword); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	if got := p.can(t, namespace); len(got) > 0 {
		t.Errorf("before the role: %v", got)
	}
	s.kubectl(t, "create", "rolebinding", "now-a-viewer", "-n", namespace, "--clusterrole=view", "--user=sso:nobody@vsphere.local")
	eventually(t, 30*time.Second, "the new role to count", func(context.Context) error {
		if out, err := p.types(t, "", "get", "vm", "-n", namespace); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	s.kubectl(t, "delete", "rolebinding", "now-a-viewer", "-n", namespace)
	eventually(t, 30*time.Second, "the withdrawn role to count", func(context.Context) error {
		if out, err := p.types(t, "", "get", "vm", "-n", namespace); err == nil {
			return fmt.Errorf("it still reads:\n%s", out)
		}
		return nil
	})
}

// TestAWrongPasswordIsRefused also looks for the password in every log.
func TestAWrongPasswordIsRefused(t *testing.T) {
	t.Parallel()
	s := running(t)
	p := s.person(t, "somebody@vsphere.local")
	const password = "canary-9f1c7e"
	out, err := p.login(t, password)
	if err == nil || !strings.Contains(out, "invalid or missing credentials") || !strings.Contains(out, "hint: ") {
		t.Errorf("login with a wrong password: %v\n%s", err, out)
	}
	if _, err := os.Stat(p.kubeconfig); !os.IsNotExist(err) {
		t.Errorf("a refused login wrote a kubeconfig: %v", err)
	}
	for _, component := range []string{"vsphere-apiserver", "kube-apiserver", "vcenter"} {
		if strings.Contains(s.log(t, component), password) {
			t.Errorf("the password is in the log of %s", component)
		}
	}
	if log := s.log(t, "vsphere-apiserver"); !strings.Contains(log, "somebody@vsphere.local") {
		t.Error("no line in the log tells of the attempt")
	}
}
