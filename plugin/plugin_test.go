// SPDX-License-Identifier: Apache-2.0

package plugin_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/openpacific/pacific/plugin"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp/wcptest"
)

// password is everybody's in the scripts; no output may hold it.
const password = "Sw0rdfish!"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"kubectl-vsphere": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			code := plugin.Run(ctx, shell.FromOS(), os.Args[1:])
			stop()
			os.Exit(code)
		},
	})
}

// tokensExpire is 2099-01-01.
const tokensExpire = 4070908800

// TestScripts runs testdata/*.txtar. The world of each script, see newScene:
//
//	10.0.1.10           a Supervisor, also called sv.example.com
//	10.0.1.20           a second one, of the same authority
//	10.6.6.6            a host of another authority
//	10.0.1.30           a Supervisor that names 10.0.1.20 and 10.6.6.6
//	10.0.1.21           one that refuses everybody
//	10.0.1.31           a Supervisor that names 10.0.1.21 and 10.0.1.20
//	10.0.1.40           a Supervisor whose certificate is for sv40.example.com only
//	broken.example.com  answers 502, moved.example.com with a redirect to 10.6.6.6,
//	echo.example.com    repeats in its errors what it was sent
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			return newScene(env.T().(testing.TB), env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"requests": requests,
			"replace":  replaceCertificate,
			"expired":  expireTokens,
			"secrets":  secrets,
		},
		RequireExplicitExec: false,
	})
}

// scene is the world of one script.
type scene struct {
	t           testing.TB
	world       *wcptest.World
	supervisors map[string]*wcptest.Supervisor
	authority   *wcptest.Authority
}

type sceneKey struct{}

func newScene(t testing.TB, env *testscript.Env) error {
	s := &scene{t: t, world: wcptest.NewWorld(t), supervisors: map[string]*wcptest.Supervisor{}, authority: wcptest.NewAuthority(t, "CA")}
	other := wcptest.NewAuthority(t, "Other CA")
	add := func(host string, signer *wcptest.Authority, workloads string, names ...string) *wcptest.Supervisor {
		supervisor := &wcptest.Supervisor{
			Users:     map[string]string{"dev@vsphere.local": password},
			Workloads: workloads,
			Expires:   tokensExpire,
		}
		s.supervisors[host] = supervisor
		s.world.Serve(host+":443", signer.Issue(t, names...), supervisor)
		return supervisor
	}
	first := add("10.0.1.10", s.authority, `[
		{"namespace":"team-b","master_host":"10.0.1.10","control_plane_api_server_port":"6443","control_plane_DNS_names":["sv.example.com"]},
		{"namespace":"team-a","master_host":"10.0.1.10","conrol_plane_api_server_port":"6443","control_plane_DNS_names":["sv.example.com"]}]`,
		"10.0.1.10", "sv.example.com")
	first.Banner = "Authorized use only.\x1b]0;owned\a\n"
	first.Guests = []wcptest.Guest{{Name: "shop", Namespace: "team-a", Server: "10.0.1.99", CA: s.authority.PEM()}}
	s.world.Serve("sv.example.com:443", s.authority.Issue(t, "sv.example.com"), first)
	first.Answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/apis/vsphere.openpacific.io/v1alpha1/namespaces" {
			return false
		}
		fmt.Fprint(w, `{"items":[{"metadata":{"name":"team-a"}},{"metadata":{"name":"team-new"}}]}`)
		return true
	}
	s.world.Serve("10.0.1.10:6443", s.authority.Issue(t, "10.0.1.10"), first)
	add("10.0.1.20", s.authority, `[{"namespace":"team-c","master_host":"10.0.1.20"}]`, "10.0.1.20")
	add("10.6.6.6", other, `[{"namespace":"team-x","master_host":"10.6.6.6"}]`, "10.6.6.6")
	add("10.0.1.30", s.authority, `[
		{"namespace":"team-c","master_host":"10.0.1.20","control_plane_api_server_port":6444},
		{"namespace":"team-x","master_host":"10.6.6.6"},
		{"namespace":"team-y","master_host":"10.6.6.6"},
		{"namespace":"../../etc","master_host":"10.0.1.20"},
		{"namespace":"team-d","master_host":"10.0.1.30"}]`, "10.0.1.30")
	add("10.0.1.31", s.authority, `[
		{"namespace":"team-r","master_host":"10.0.1.21"},
		{"namespace":"team-c","master_host":"10.0.1.20"},
		{"namespace":"team-e","master_host":"10.0.1.31"}]`, "10.0.1.31")
	add("10.0.1.21", s.authority, `[]`, "10.0.1.21").Users = nil
	add("10.0.1.40", s.authority, `[]`, "sv40.example.com")
	add("broken.example.com", s.authority, "", "broken.example.com").Answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/wcp/loginbanner" {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html><h1>502 Bad Gateway</h1></html>")
		return true
	}
	add("moved.example.com", s.authority, "", "moved.example.com").Answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/wcp/loginbanner" {
			return false
		}
		http.Redirect(w, r, "https://10.6.6.6"+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	add("echo.example.com", s.authority, "", "echo.example.com").Answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/wcp/loginbanner" {
			return false
		}
		_, got, _ := r.BasicAuth()
		http.Error(w, "cannot log in with "+got, http.StatusInternalServerError)
		return true
	}
	env.Values[sceneKey{}] = s
	home := filepath.Join(env.WorkDir, "home")
	env.Vars = append(env.Vars,
		"HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "KUBECONFIG=",
		"HTTPS_PROXY="+s.world.Proxy(), "NO_PROXY=",
		// A keyring that does not answer, whatever this computer has.
		"DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(env.WorkDir, "no-bus"),
		"PASSWORD="+password,
		"FINGERPRINT="+trust.Fingerprint(s.authority.Certificate),
		"CA="+base64.StdEncoding.EncodeToString(s.authority.PEM()),
		"TOKEN="+first.Token("dev@vsphere.local", "vmware-tes:vc:vns:k8s"),
		"GUESTTOKEN="+first.Token("dev@vsphere.local", "vmware-tes:vc:vns:k8s:shop"),
	)
	return os.WriteFile(filepath.Join(env.WorkDir, "ca.pem"), s.authority.PEM(), 0o600)
}

func sceneOf(ts *testscript.TestScript) *scene {
	return ts.Value(sceneKey{}).(*scene)
}

// requests writes what a host was asked since the last time into a file:
// requests 10.0.1.10 file.
func requests(ts *testscript.TestScript, _ bool, arguments []string) {
	supervisor := sceneOf(ts).supervisors[arguments[0]]
	text := ""
	for _, line := range supervisor.Requests() {
		text += line + "\n"
	}
	supervisor.Forget()
	ts.Check(os.WriteFile(ts.MkAbs(arguments[1]), []byte(text), 0o600))
}

// replaceCertificate gives a host a certificate of another authority:
// replace 10.0.1.10.
func replaceCertificate(ts *testscript.TestScript, _ bool, arguments []string) {
	s := sceneOf(ts)
	s.world.Serve(arguments[0]+":443", wcptest.NewAuthority(s.t, "CA").Issue(s.t, arguments[0]), s.supervisors[arguments[0]])
}

// expireTokens lets a host give out tokens that have expired, or good ones again:
// expired 10.0.1.10, ! expired 10.0.1.10.
func expireTokens(ts *testscript.TestScript, not bool, arguments []string) {
	s := sceneOf(ts)
	expires := int64(1)
	if not {
		expires = tokensExpire
	}
	s.supervisors[arguments[0]].Expire(expires)
}

// secrets checks that the password is in no output and in no file:
// secrets [token], the latter for the token as well.
func secrets(ts *testscript.TestScript, _ bool, arguments []string) {
	hidden := []string{password, base64.StdEncoding.EncodeToString([]byte("dev@vsphere.local:" + password))}
	if len(arguments) > 0 {
		hidden = append(hidden, ts.Getenv("TOKEN"), ts.Getenv("GUESTTOKEN"))
	}
	for _, secret := range hidden {
		if strings.Contains(ts.ReadFile("stdout"), secret) || strings.Contains(ts.ReadFile("stderr"), secret) {
			ts.Fatalf("a secret is in the output")
		}
		err := filepath.WalkDir(ts.Getenv("HOME"), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(data), password) {
				err = fmt.Errorf("the password is in %s", path)
			}
			return err
		})
		if !os.IsNotExist(err) {
			ts.Check(err)
		}
	}
}
