// SPDX-License-Identifier: Apache-2.0

package wcptest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Guest is a Tanzu Kubernetes cluster.
type Guest struct {
	Name, Namespace, Server string
	CA                      []byte
}

// Supervisor is a login service. Its fields are set before it is asked.
type Supervisor struct {
	Banner    string
	Users     map[string]string // passwords
	Workloads string            // the JSON that is sent
	Guests    []Guest
	Expires   int64 // of the tokens, seconds; Expire changes it later
	// Authorities are told to everybody as those of the API server, where they are
	// set; stock Supervisors of old do not tell.
	Authorities []byte

	// Answer, when set, takes the place of all else and says whether it did.
	Answer func(http.ResponseWriter, *http.Request) bool

	mu       sync.Mutex // guards what follows, and Expires once it serves
	requests []string
	given    map[string]bool // tokens
}

// Requests returns what was asked so far: method, path, who with a password,
// and the body.
func (s *Supervisor) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Forget empties the list of requests.
func (s *Supervisor) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// Expire changes when the tokens expire that are given out from now on.
func (s *Supervisor) Expire(seconds int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Expires = seconds
}

// Token returns the token that is given to a user: a JWT in form, signed by
// nobody.
func (s *Supervisor) Token(username, audience string) string {
	s.mu.Lock()
	expires := s.Expires
	s.mu.Unlock()
	encode := base64.RawURLEncoding.EncodeToString
	header := encode([]byte(`{"alg":"RS256","kid":"CFFA5FCD"}`))
	claims := encode(fmt.Appendf(nil, `{"sub":%q,"aud":%q,"exp":%d}`, username, audience, expires))
	return header + "." + claims + "." + encode([]byte("signature"))
}

// line is how a request is written down.
func line(r *http.Request, body []byte) string {
	line := r.Method + " " + r.URL.Path
	username, password, basic := r.BasicAuth()
	switch authorization := r.Header.Get("Authorization"); {
	case basic && password != "":
		line += " password of " + username
	case strings.HasPrefix(authorization, "Bearer "):
		line += " token"
	}
	if len(body) > 0 {
		line += " " + string(body)
	}
	return line
}

// ServeHTTP answers as a Supervisor's login service does.
func (s *Supervisor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	username, password, basic := r.BasicAuth()
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	s.mu.Lock()
	s.requests = append(s.requests, line(r, body))
	s.mu.Unlock()
	if s.Answer != nil && s.Answer(w, r) {
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /wcp/loginbanner":
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, s.Banner)
		return
	case "GET /api/v1/namespaces/kube-public/configmaps/vip-cluster-info":
		s.tell(w, r)
		return
	case "GET /wcp/workloads", "POST /wcp/login":
	default:
		http.NotFound(w, r)
		return
	}
	if expected, known := s.Users[username]; !basic || !known || expected != password {
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		fmt.Fprint(w, s.Workloads)
		return
	}
	s.login(w, username, body)
}

func (s *Supervisor) login(w http.ResponseWriter, username string, body []byte) {
	var question struct {
		Name      string `json:"guest_cluster_name"`
		Namespace string `json:"guest_cluster_namespace"`
	}
	if len(body) > 0 && json.Unmarshal(body, &question) != nil {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	answer := map[string]string{"session_id": s.Token(username, "vmware-tes:vc:vns:k8s")}
	if question.Name != "" {
		// Of a cluster that is not there, the answer is 200 and names no server.
		answer["guest_cluster_server"], answer["guest_cluster_ca"] = "", ""
		for _, guest := range s.Guests {
			if guest.Name == question.Name && (question.Namespace == "" || guest.Namespace == question.Namespace) {
				answer["session_id"] = s.Token(username, "vmware-tes:vc:vns:k8s:"+guest.Name)
				answer["guest_cluster_server"] = guest.Server
				answer["guest_cluster_ca"] = base64.StdEncoding.EncodeToString(guest.CA)
			}
		}
	}
	s.mu.Lock()
	if s.given == nil {
		s.given = map[string]bool{}
	}
	s.given[answer["session_id"]] = true
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(answer)
}

// tell says how to reach the API server.
func (s *Supervisor) tell(w http.ResponseWriter, r *http.Request) {
	if s.Authorities == nil {
		http.NotFound(w, r)
		return
	}
	kubeconfig := "apiVersion: v1\nkind: Config\nclusters:\n- name: \"\"\n  cluster:\n    server: https://" + r.Host +
		":6443\n" +
		"    certificate-authority-data: " + base64.StdEncoding.EncodeToString(s.Authorities) + "\n"
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"kind": "ConfigMap", "apiVersion": "v1", "data": map[string]string{"kubeconfig": kubeconfig},
	})
}

// Revoke has no API server take any token that was given out so far.
func (s *Supervisor) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.given)
}

// API is a Kubernetes API server. It knows whoever has a token of the login service.
type API struct {
	Supervisor *Supervisor
	// Strict does not take the tokens, as one that has not read the keys yet.
	Strict bool
	// Namespaces is what is sent for the list of vSphere Namespaces.
	Namespaces string
	// Objects are what is there besides, by path. A patch of one is answered with how it is then; what Becomes tells of
	// it comes only by and by, when it has been read twice more.
	Objects map[string]map[string]any
	Becomes map[string]map[string]any

	mu       sync.Mutex // guards requests, patched and the objects
	requests []string
	patched  map[string]int // how often an object that was patched is still to be read as it was
}

// Requests returns what was asked so far.
func (a *API) Requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// Forget empties the list of requests.
func (a *API) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = nil
}

func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests = append(a.requests, line(r, nil))
	a.mu.Unlock()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a.Supervisor.mu.Lock()
	known := a.Supervisor.given[token] && !a.Strict
	a.Supervisor.mu.Unlock()
	switch {
	case !known:
		http.Error(w, `{"kind":"Status","reason":"Unauthorized"}`, http.StatusUnauthorized)
	case r.URL.Path == "/api":
		fmt.Fprint(w, `{"kind":"APIVersions","versions":["v1"]}`)
	case r.URL.Path == "/apis/vsphere.openpacific.io/v1alpha1/namespaces" && a.Namespaces != "":
		fmt.Fprint(w, a.Namespaces)
	default:
		a.serveObject(w, r)
	}
}

// serveObject reads or patches one of the objects.
func (a *API) serveObject(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	object, found := a.Objects[r.URL.Path]
	if !found {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"kind":"Status","reason":"NotFound","message":%q}`, r.URL.Path+" not found")
		return
	}
	if r.Method == http.MethodPatch {
		var patch map[string]any
		if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.requests = append(a.requests, fmt.Sprintf("  %v", patch))
		merge(object, patch)
		a.patched = map[string]int{r.URL.Path: 2}
		if warning, _ := object["warning"].(string); warning != "" {
			w.Header().Set("Warning", `299 - "`+warning+`"`)
		}
	} else if left := a.patched[r.URL.Path]; left > 0 {
		if a.patched[r.URL.Path] = left - 1; left == 1 {
			merge(object, a.Becomes[r.URL.Path])
		}
	}
	_ = json.NewEncoder(w).Encode(object)
}

// merge is a JSON merge patch, but for what it takes away.
func merge(object, patch map[string]any) {
	for key, value := range patch {
		into, isObject := object[key].(map[string]any)
		if changes, ok := value.(map[string]any); ok && isObject {
			merge(into, changes)
		} else {
			object[key] = value
		}
	}
}
