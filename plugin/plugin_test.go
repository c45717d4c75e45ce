// SPDX-License-Identifier: Apache-2.0

package plugin_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
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
//	10.0.1.32           a Supervisor that names 10.0.1.22, which has the same certificate
//	10.0.1.33           a Supervisor with a namespace that is called as one of 10.0.1.20
//	10.0.1.40           a Supervisor whose certificate is for sv40.example.com only
//	broken.example.com  answers 502, moved.example.com with a redirect to 10.6.6.6,
//	echo.example.com    repeats in its errors what it was sent,
//	federated.example.com, busy.example.com refuse everybody with a reason
//
// Each has an API server at its port 6443 with a certificate of the same authority,
// 10.0.1.20 at 6444 too. At others, that is of another authority:
//
//	10.0.1.50           tells it, and does not show who has signed its own certificate
//	10.0.1.51           does not tell it; the API server shows it
//	10.0.1.52           does not tell it; the API server does not show it either
//	10.0.1.53           the API server is not there
//	10.0.1.54           the API server does not take the tokens
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
			"revoked":  revokeTokens,
			"secrets":  secrets,
			"envfile":  expandFile,
		},
		RequireExplicitExec: false,
	})
}

// asked is whoever writes down what they were asked.
type asked interface {
	Requests() []string
	Forget()
}

// scene is the world of one script.
type scene struct {
	t           testing.TB
	world       *wcptest.World
	supervisors map[string]*wcptest.Supervisor
	asked       map[string]asked // by host, API servers by host:port
	authority   *wcptest.Authority
	other       *wcptest.Authority
}

type sceneKey struct{}

// supervisor adds a login service and nothing beside it.
func (s *scene) supervisor(host string, certificate tls.Certificate, workloads string) *wcptest.Supervisor {
	added := &wcptest.Supervisor{Users: map[string]string{"dev@vsphere.local": password}, Workloads: workloads,
		Expires: tokensExpire}
	s.supervisors[host], s.asked[host] = added, added
	s.world.Serve(host+":443", certificate, added)
	return added
}

// api adds the API server of a Supervisor, at host:port.
func (s *scene) api(at string, supervisor *wcptest.Supervisor, certificate tls.Certificate) *wcptest.API {
	added := &wcptest.API{Supervisor: supervisor}
	s.asked[at] = added
	s.world.Serve(at, certificate, added)
	return added
}

// add adds a Supervisor whole, with one certificate.
func (s *scene) add(host string, signer *wcptest.Authority, workloads string, names ...string) *wcptest.Supervisor {
	certificate := signer.Issue(s.t, names...)
	added := s.supervisor(host, certificate, workloads)
	s.api(host+":6443", added, certificate)
	return added
}

func newScene(t testing.TB, env *testscript.Env) error {
	s := &scene{
		t: t, world: wcptest.NewWorld(t), supervisors: map[string]*wcptest.Supervisor{}, asked: map[string]asked{},
		authority: wcptest.NewAuthority(t, "CA"), other: wcptest.NewAuthority(t, "Other CA"),
	}
	first := s.addFirst()
	s.addNaming()
	s.addBroken()
	s.addOthersAPIs()
	env.Values[sceneKey{}] = s
	home := filepath.Join(env.WorkDir, "home")
	env.Vars = append(env.Vars,
		"HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "KUBECONFIG=",
		"HTTPS_PROXY="+s.world.Proxy(), "NO_PROXY=",
		// A keyring that does not answer, whatever this computer has.
		"DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(env.WorkDir, "no-bus"),
		"PASSWORD="+password,
		"FINGERPRINT="+trust.Fingerprint(s.authority.Certificate),
		"OTHERFINGERPRINT="+trust.Fingerprint(s.other.Certificate),
		"OTHERHEX="+strings.ToLower(strings.ReplaceAll(trust.Fingerprint(s.other.Certificate), ":", "")),
		"CA="+base64.StdEncoding.EncodeToString(s.authority.PEM()),
		"OTHERCA="+base64.StdEncoding.EncodeToString(s.other.PEM()),
		"TOKEN="+first.Token("dev@vsphere.local", "vmware-tes:vc:vns:k8s"),
		"GUESTTOKEN="+first.Token("dev@vsphere.local", "vmware-tes:vc:vns:k8s:shop"),
	)
	return errors.Join(
		os.WriteFile(filepath.Join(env.WorkDir, "ca.pem"), s.authority.PEM(), 0o600),
		os.WriteFile(filepath.Join(env.WorkDir, "both.pem"), append(s.authority.PEM(), s.other.PEM()...), 0o600),
	)
}

// addFirst adds the Supervisor that most scripts are about.
func (s *scene) addFirst() *wcptest.Supervisor {
	first := s.add("10.0.1.10", s.authority, `[
		{"namespace":"team-b","master_host":"10.0.1.10","control_plane_api_server_port":"6443","control_plane_DNS_names":["sv.example.com"]},
		{"namespace":"team-a","master_host":"10.0.1.10","conrol_plane_api_server_port":"6443","control_plane_DNS_names":["sv.example.com"]}]`,
		"10.0.1.10", "sv.example.com")
	first.Banner = "Authorized use only.\x1b]0;owned\a\n"
	first.Guests = []wcptest.Guest{
		{Name: "shop", Namespace: "team-a", Server: "10.0.1.99", CA: s.other.PEM()},
		{Name: "bait", Namespace: "team-a", Server: "10.0.1.20", CA: s.other.PEM()},
		{Name: "self", Namespace: "team-a", Server: "10.0.1.10", CA: s.authority.PEM()},
	}
	s.api("10.0.1.99:6443", first, s.other.Issue(s.t, "10.0.1.99"))
	s.world.Serve("sv.example.com:443", s.authority.Issue(s.t, "sv.example.com"), first)
	s.api("sv.example.com:6443", first, s.authority.Issue(s.t, "sv.example.com"))
	api := s.asked["10.0.1.10:6443"].(*wcptest.API)
	api.Namespaces = `{"items":[{"metadata":{"name":"team-a"}},{"metadata":{"name":"team-new"}}]}`
	api.Objects, api.Becomes = objects(s.t, "testdata/objects.json"), objects(s.t, "testdata/becomes.json")
	return first
}

// objects reads what an API server has, by path.
func objects(t testing.TB, file string) map[string]map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]any{}
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return found
}

// addNaming adds Supervisors that name others.
func (s *scene) addNaming() {
	second := s.add("10.0.1.20", s.authority, `[{"namespace":"team-c","master_host":"10.0.1.20"}]`, "10.0.1.20")
	s.api("10.0.1.20:6444", second, s.authority.Issue(s.t, "10.0.1.20"))
	s.add("10.6.6.6", s.other, `[{"namespace":"team-x","master_host":"10.6.6.6"}]`, "10.6.6.6")
	s.add("10.0.1.30", s.authority, `[
		{"namespace":"team-c","master_host":"10.0.1.20","control_plane_api_server_port":6444},
		{"namespace":"team-x","master_host":"10.6.6.6"},
		{"namespace":"team-y","master_host":"10.6.6.6"},
		{"namespace":"../../etc","master_host":"10.0.1.20"},
		{"namespace":"team-d","master_host":"10.0.1.30"}]`, "10.0.1.30")
	s.add("10.0.1.31", s.authority, `[
		{"namespace":"team-r","master_host":"10.0.1.21"},
		{"namespace":"team-c","master_host":"10.0.1.20"},
		{"namespace":"team-e","master_host":"10.0.1.31"}]`, "10.0.1.31")
	s.add("10.0.1.21", s.authority, `[]`, "10.0.1.21").Users = nil
	s.add("10.0.1.33", s.authority, `[{"namespace":"team-c","master_host":"10.0.1.33"}]`, "10.0.1.33")
	same := s.authority.Issue(s.t, "10.0.1.32", "10.0.1.22")
	s.api("10.0.1.32:6443", s.supervisor("10.0.1.32", same, `[{"namespace":"team-s","master_host":"10.0.1.22"}]`), same)
	s.api("10.0.1.22:6443", s.supervisor("10.0.1.22", same, `[]`), same)
}

// addBroken adds Supervisors that something is wrong with.
func (s *scene) addBroken() {
	s.add("10.0.1.40", s.authority, `[]`, "sv40.example.com")
	for host, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"broken.example.com": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "<html><h1>502 Bad Gateway</h1></html>")
		},
		"moved.example.com": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://10.6.6.6"+r.URL.Path, http.StatusTemporaryRedirect)
		},
		"federated.example.com": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w,
				`{"reason":"FederatedDomain","message":"the people of corp.test log in to vCenter at an identity provider"}`)
		},
		"busy.example.com": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"reason":"TooManyAttempts","message":"too many failed attempts: try again later"}`)
		},
		"echo.example.com": func(w http.ResponseWriter, r *http.Request) {
			_, got, _ := r.BasicAuth()
			http.Error(w, "cannot log in with "+got, http.StatusInternalServerError)
		},
	} {
		s.add(host, s.authority, "", host).Answer = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/wcp/loginbanner" {
				return false
			}
			answer(w, r)
			return true
		}
	}
}

// addOthersAPIs adds Supervisors whose API server has a certificate that says
// nothing about the login service's.
func (s *scene) addOthersAPIs() {
	login := func(host string) *wcptest.Supervisor {
		return s.supervisor(host, s.authority.Issue(s.t, host),
			fmt.Sprintf(`[{"namespace":"team-k","master_host":%q}]`, host))
	}
	certificate := func(host string) tls.Certificate { return s.other.Issue(s.t, host) }
	telling := s.supervisor("10.0.1.50", wcptest.Alone(s.authority.Issue(s.t, "10.0.1.50")),
		`[{"namespace":"team-k","master_host":"10.0.1.50"}]`)
	telling.Authorities = s.other.PEM()
	s.api("10.0.1.50:6443", telling, wcptest.Alone(certificate("10.0.1.50")))
	s.api("10.0.1.51:6443", login("10.0.1.51"), certificate("10.0.1.51"))
	s.api("10.0.1.52:6443", login("10.0.1.52"), wcptest.Alone(certificate("10.0.1.52")))
	login("10.0.1.53")
	s.api("10.0.1.54:6443", login("10.0.1.54"), s.authority.Issue(s.t, "10.0.1.54")).Strict = true
}

func sceneOf(ts *testscript.TestScript) *scene {
	return ts.Value(sceneKey{}).(*scene)
}

// requests writes what a host was asked since the last time into a file:
// requests 10.0.1.10 file, or requests 10.0.1.10:6443 file for its API server.
func requests(ts *testscript.TestScript, _ bool, arguments []string) {
	server := sceneOf(ts).asked[arguments[0]]
	text := ""
	for _, line := range server.Requests() {
		text += line + "\n"
	}
	server.Forget()
	ts.Check(os.WriteFile(ts.MkAbs(arguments[1]), []byte(text), 0o600))
}

// replaceCertificate gives a host a certificate of another authority:
// replace 10.0.1.10.
func replaceCertificate(ts *testscript.TestScript, _ bool, arguments []string) {
	s := sceneOf(ts)
	s.world.Serve(arguments[0]+":443", wcptest.NewAuthority(s.t, "CA").Issue(s.t, arguments[0]),
		s.supervisors[arguments[0]])
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

// revokeTokens has API servers take no token that a Supervisor has given out: revoked 10.0.1.10.
func revokeTokens(ts *testscript.TestScript, _ bool, arguments []string) {
	sceneOf(ts).supervisors[arguments[0]].Revoke()
}

// expandFile puts the values of variables into a file: envfile file.
func expandFile(ts *testscript.TestScript, _ bool, arguments []string) {
	file := ts.MkAbs(arguments[0])
	ts.Check(os.WriteFile(file, []byte(os.Expand(ts.ReadFile(file), ts.Getenv)), 0o600))
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
