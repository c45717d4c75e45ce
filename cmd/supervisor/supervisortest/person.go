// SPDX-License-Identifier: Apache-2.0

package supervisortest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// Person is somebody at a terminal of their own, with a kubeconfig of their own and nothing else.
type Person struct {
	Kubeconfig string // the file

	supervisor *Supervisor
	name       string
}

// Person is somebody who has not logged in yet.
func (s *Supervisor) Person(t *testing.T, name string) *Person {
	t.Helper()
	return &Person{supervisor: s, name: name, Kubeconfig: filepath.Join(t.TempDir(), "config")}
}

// Command is `kubectl …` in the person's environment, not yet started.
func (p *Person) Command(t *testing.T, password string, arguments ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(p.supervisor.Path, "kubectl"), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+p.Kubeconfig, "HOME="+filepath.Dir(p.Kubeconfig),
		"PATH="+p.supervisor.Path+string(os.PathListSeparator)+os.Getenv("PATH"), "TERM=dumb")
	if password != "" {
		command.Env = append(command.Env, "KUBECTL_VSPHERE_PASSWORD="+password)
	}
	return command
}

// Types runs `kubectl …` and returns what it prints to both of its outputs.
func (p *Person) Types(t *testing.T, password string, arguments ...string) (string, error) {
	t.Helper()
	out, err := p.Command(t, password, arguments...).CombinedOutput()
	return string(out), err
}

// Login logs in at the Supervisor's own address, and returns what the plugin prints.
func (p *Person) Login(t *testing.T, password string) (string, error) {
	t.Helper()
	ports, err := p.supervisor.Dir.ReadPorts()
	if err != nil {
		t.Fatal(err)
	}
	return p.Types(t, password, "vsphere", "login", "--server", fmt.Sprintf("localhost:%d", ports["login"]), "-u", p.name,
		"--certificate-authority", filepath.Join(p.supervisor.Dir.PKI(), "ca.crt"))
}

// Can are the verbs on virtual machines that kubectl says are allowed.
func (p *Person) Can(t *testing.T, namespace string) []string {
	t.Helper()
	verbs := []string{}
	for _, verb := range []string{"get", "list", "watch", "patch", "delete"} {
		out, err := p.Types(t, "", "auth", "can-i", verb, "virtualmachines.vmoperator.vmware.com", "-n", namespace)
		switch answer := strings.TrimSpace(out); {
		case answer == "yes":
			verbs = append(verbs, verb)
		case !strings.HasSuffix(answer, "no"):
			t.Fatalf("can-i %s in %s: %v\n%s", verb, namespace, err, out)
		}
	}
	return verbs
}

// Config is what the person's kubeconfig says now.
func (p *Person) Config(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	config.Timeout = time.Minute
	return config
}

// LoggedIn logs somebody in, which must succeed, and returns the config that they have then.
func (s *Supervisor) LoggedIn(t *testing.T, name, password string) *rest.Config {
	t.Helper()
	p := s.Person(t, name)
	if out, err := p.Login(t, password); err != nil {
		t.Fatalf("login of %s: %v\n%s", name, err, out)
	}
	return p.Config(t)
}

// AdministratorPassword is that of the simulated vCenter.
func (s *Supervisor) AdministratorPassword(t *testing.T) string {
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
