// SPDX-License-Identifier: Apache-2.0

package plugin_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/wcp/wcptest"
)

// login returns a login at a host, not yet started.
func login(t *testing.T, world *wcptest.World, home, host string, arguments ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command("kubectl-vsphere", append([]string{"login", "--server=" + host, "-u=dev@vsphere.local",
		"--insecure-skip-tls-verify"}, arguments...)...)
	command.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "AppData="+home,
		"KUBECONFIG="+filepath.Join(home, "kubeconfig"),
		"HTTPS_PROXY="+world.Proxy(), "NO_PROXY=", "KUBECTL_VSPHERE_PASSWORD="+password)
	return command
}

// serve serves a Supervisor and the API server beside it.
func serve(t *testing.T, world *wcptest.World, host string, authority *wcptest.Authority,
	supervisor *wcptest.Supervisor) *wcptest.API {
	t.Helper()
	api := &wcptest.API{Supervisor: supervisor}
	world.Serve(host+":443", authority.Issue(t, host), supervisor)
	world.Serve(host+":6443", authority.Issue(t, host), api)
	return api
}

// TestLoginsAtOnce logs in to ten servers at once: nobody loses an entry.
func TestLoginsAtOnce(t *testing.T) {
	world, home := wcptest.NewWorld(t), t.TempDir()
	authority := wcptest.NewAuthority(t, "CA")
	var running []*exec.Cmd
	for i := range 10 {
		host := fmt.Sprintf("10.0.1.%d", 100+i)
		serve(t, world, host, authority, &wcptest.Supervisor{
			Users:     map[string]string{"dev@vsphere.local": password},
			Workloads: fmt.Sprintf(`[{"namespace":"team-%d","master_host":%q}]`, i, host),
		})
		running = append(running, login(t, world, home, host))
	}
	for _, command := range running {
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range running {
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	}
	files := &kubeconfig.Files{Paths: []string{filepath.Join(home, "kubeconfig")}}
	config, err := files.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Contexts) != 20 || len(config.Clusters) != 10 || len(config.Users) != 10 {
		t.Errorf("%d contexts, %d clusters, %d users; want 20, 10, 10", len(config.Contexts), len(config.Clusters),
			len(config.Users))
	}
}

// TestManyNamespaces logs in where there are 500, twice: into an empty
// kubeconfig and into a full one.
func TestManyNamespaces(t *testing.T) {
	world, home := wcptest.NewWorld(t), t.TempDir()
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprintf(`{"namespace":"ns-%03d","master_host":"10.0.1.50"}`, i)
	}
	serve(t, world, "10.0.1.50", wcptest.NewAuthority(t, "CA"), &wcptest.Supervisor{
		Users:     map[string]string{"dev@vsphere.local": password},
		Workloads: "[" + strings.Join(many, ",") + "]",
	})
	for range 2 {
		command := login(t, world, home, "10.0.1.50", "-o", "name")
		out, err := command.Output()
		if lines := strings.Count(string(out), "\n"); err != nil || lines != 501 {
			t.Fatalf("%d contexts, %v", lines, err)
		}
		// What it costs the processor, and not how long it takes beside other tests: a file that is written once for each
		// entry costs many times that.
		if cost := command.ProcessState.UserTime() + command.ProcessState.SystemTime(); cost > 5*time.Second {
			t.Errorf("it cost %v of processor time", cost)
		} else {
			t.Logf("it cost %v of processor time", cost)
		}
	}
}
