// SPDX-License-Identifier: Apache-2.0

package plugin_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/openpacific/pacific/plugin/wcp/wcptest"
)

// TestClientGo uses what a login has written as kubectl does, with client-go: the
// API server gets the token, from the kubeconfig or from the credential command,
// and the authority is the one that the login has trusted.
func TestClientGo(t *testing.T) {
	for _, auth := range []string{"token", "exec"} {
		t.Run(auth, func(t *testing.T) {
			world, home := wcptest.NewWorld(t), t.TempDir()
			authority := wcptest.NewAuthority(t, "CA")
			supervisor := &wcptest.Supervisor{
				Users:     map[string]string{"dev@vsphere.local": password},
				Workloads: `[{"namespace":"team-a","master_host":"10.0.1.10"}]`, Expires: 4000000000,
			}
			api := serve(t, world, "10.0.1.10", authority, supervisor)
			ca := filepath.Join(home, "ca.pem")
			if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			// The credential command is run by client-go, in this environment.
			for name, value := range map[string]string{
				"HOME": home, "XDG_CONFIG_HOME": home, "AppData": home, "KUBECONFIG": filepath.Join(home, "kubeconfig"),
				"HTTPS_PROXY": world.Proxy(), "NO_PROXY": "", "KUBECTL_VSPHERE_PASSWORD": "",
			} {
				t.Setenv(name, value)
			}
			command := login(t, world, home, "10.0.1.10", "--auth="+auth, "--certificate-authority="+ca,
				"--insecure-skip-tls-verify=false")
			if auth == "exec" {
				command.Args = append(command.Args, "--token-cache=file")
			}
			if out, err := command.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(home, "kubeconfig"))
			if err != nil {
				t.Fatal(err)
			}
			proxy, err := url.Parse(world.Proxy())
			if err != nil {
				t.Fatal(err)
			}
			config.Proxy = http.ProxyURL(proxy)
			client, err := rest.HTTPClientFor(config)
			if err != nil {
				t.Fatal(err)
			}
			api.Forget()
			response, err := client.Get(config.Host + "/api")
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			client.CloseIdleConnections()
			if diff := cmp.Diff([]string{"GET /api token"}, api.Requests()); diff != "" || response.StatusCode != http.StatusOK {
				t.Errorf("status %d, the API server got (-want +got):\n%s", response.StatusCode, diff)
			}
		})
	}
}
