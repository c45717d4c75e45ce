// SPDX-License-Identifier: Apache-2.0

package login

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/openpacific/pacific/pkg/login/token"
)

const (
	discoveryPath = "/.well-known/openid-configuration"
	jwksPath      = "/jwks"
	apiPort       = "6443"
	// clusterInfoPath is where a Supervisor tells everybody how to reach its API: a
	// ConfigMap that holds a kubeconfig without credentials, as kubeadm's cluster-info.
	clusterInfoName      = "vip-cluster-info"
	clusterInfoNamespace = "kube-public"
	clusterInfoPath      = "/api/v1/namespaces/" + clusterInfoNamespace + "/configmaps/" + clusterInfoName
)

// only passes requests of the methods on.
func (s *Service) only(next http.HandlerFunc, methods ...string) http.Handler {
	return s.protect(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "use "+strings.Join(methods, " or ")+" here")
			return
		}
		if wrong := checkHeader(r); wrong != nil {
			wrong.answer(w)
			return
		}
		next(w, r)
	})
}

// protect answers a panic without a word of the request: what was being done is
// told by the stack, which holds no values.
func (s *Service) protect(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if cause := recover(); cause != nil {
				if cause == http.ErrAbortHandler {
					panic(cause)
				}
				s.Logger.Error(nil, "A login request ended in a panic", "type", fmt.Sprintf("%T", cause), "stack",
					string(debug.Stack()))
				refuse(w, http.StatusInternalServerError, "Internal", "internal server error")
			}
		}()
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("X-Content-Type-Options", "nosniff")
		next(w, r)
	})
}

func (p *problem) answer(w http.ResponseWriter) {
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="vSphere", charset="UTF-8"`)
	}
	refuse(w, p.status, p.reason, p.message)
}

// refuse answers with an error that programs and people can read.
func refuse(w http.ResponseWriter, status int, reason, message string) {
	reply(w, status, struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	}{reason, message})
}

func reply(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // Of a type of ours, so a mistake in the program.
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has gone away gets no answer.
	_, _ = w.Write(append(text, '\n'))
}

func (s *Service) serveBanner(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(s.Banner))
}

// workload is one of /wcp/workloads. The port's key is spelled in both of the
// ways that clients are known to read.
type workload struct {
	Namespace string   `json:"namespace"`
	Host      string   `json:"master_host"`
	Port      string   `json:"control_plane_api_server_port"`
	PortTypo  string   `json:"conrol_plane_api_server_port"`
	DNSNames  []string `json:"control_plane_DNS_names"`
}

func (s *Service) serveWorkloads(w http.ResponseWriter, r *http.Request) {
	identity, a, ok := s.authenticate(w, r, "workloads")
	if !ok {
		return
	}
	var found []Workload
	if s.Workloads != nil {
		var err error
		if found, err = s.Workloads.Of(r.Context(), identity); err != nil {
			s.Logger.Error(err, "Could not list the namespaces of a user", "user", identity.Name())
			s.end(a, unavailable, "the namespaces are not known now")
			s.unavailable(w)
			return
		}
	}
	host, port := s.kubeAPI(r)
	list := make([]workload, 0, len(found))
	for _, one := range found {
		port := cmp.Or(one.Port, port)
		list = append(list, workload{one.Namespace, cmp.Or(one.Host, host), port, port, append([]string{}, one.DNSNames...)})
	}
	slices.SortFunc(list, func(x, y workload) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Host, y.Host))
	})
	s.end(a, accepted, "")
	reply(w, http.StatusOK, list)
}

// kubeAPI is where a client is told that the Kubernetes API is.
func (s *Service) kubeAPI(r *http.Request) (host, port string) {
	if s.Host != "" {
		return s.Host, cmp.Or(s.Port, apiPort)
	}
	return calledBy(r), cmp.Or(s.Port, apiPort)
}

// calledBy is the host that the client reached us by, without the port.
func calledBy(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return strings.Trim(r.Host, "[]")
}

// session is the answer to a login.
type session struct {
	ID          string `json:"session_id"`
	GuestServer string `json:"guest_cluster_server"`
	GuestCA     string `json:"guest_cluster_ca"`
	// Error says why there is no guest cluster, for clients that know it.
	Error string `json:"error,omitempty"`
}

func (s *Service) serveLogin(w http.ResponseWriter, r *http.Request) {
	asked, wrong := readGuest(w, r)
	if wrong != nil {
		wrong.answer(w)
		return
	}
	identity, a, ok := s.authenticate(w, r, "login")
	if !ok {
		return
	}
	subject := token.Subject{Username: identity.Username, Domain: identity.Domain, Groups: identity.Groups}
	text, claims, err := s.Tokens.Issue(subject, token.Audience)
	if err != nil {
		s.Logger.Error(err, "Could not issue a token", "user", identity.Name())
		s.end(a, unavailable, "no token can be issued now")
		s.unavailable(w)
		return
	}
	answer := session{ID: text}
	reason := "token " + claims.ID
	if asked.name != "" {
		// As a Supervisor answers for a guest cluster that is not there or not
		// the user's.
		answer.Error = "there is no such guest cluster, or you have no access to it"
		reason += ", no such guest cluster"
	}
	s.end(a, accepted, reason)
	reply(w, http.StatusOK, answer)
}

// serveClusterInfo tells where the Kubernetes API is and who signs its certificate.
// Whoever trusts this connection can trust that.
func (s *Service) serveClusterInfo(w http.ResponseWriter, r *http.Request) {
	authorities, err := s.Authorities()
	if err != nil {
		s.Logger.Error(err, "Could not read the authorities of the Kubernetes API's certificate")
		retryAfter(w, 0)
		refuse(w, http.StatusServiceUnavailable, "Unavailable",
			"the authorities of the Kubernetes API's certificate cannot be read now")
		return
	}
	type names struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	}
	reply(w, http.StatusOK, struct {
		Kind       string            `json:"kind"`
		APIVersion string            `json:"apiVersion"`
		Metadata   names             `json:"metadata"`
		Data       map[string]string `json:"data"`
	}{"ConfigMap", "v1", names{clusterInfoName, clusterInfoNamespace}, map[string]string{
		"kubeconfig": string(clusterInfo("https://"+net.JoinHostPort(s.kubeAPI(r)), authorities)),
	}})
}

func (s *Service) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=300")
	reply(w, http.StatusOK, struct {
		Issuer        string   `json:"issuer"`
		Keys          string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
		Claims        []string `json:"claims_supported"`
	}{
		s.Tokens.URL, cmp.Or(s.JWKSURL, s.Tokens.URL+jwksPath), []string{"id_token"}, []string{"public"},
		[]string{string(jose.RS256)},
		[]string{"sub", "aud", "domain", "username", "iss", "group_names", "exp", "iat", "jti"},
	})
}

func (s *Service) serveKeys(w http.ResponseWriter, _ *http.Request) {
	if err := s.Tokens.Keys.Ready(); err != nil {
		retryAfter(w, 0)
		refuse(w, http.StatusServiceUnavailable, "Unavailable", "the keys are not loaded yet")
		return
	}
	// kube-apiserver asks again for a key that it does not know only when this
	// time is over, so it is also how long a lost key's successor is not known.
	w.Header().Set("Cache-Control", "public, max-age=60")
	reply(w, http.StatusOK, s.Tokens.Keys.Public())
}
