// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/clustermodule"
)

const (
	restSessionPath   = "/rest/com/vmware/cis/session"
	restSessionHeader = "vmware-api-session-id"
)

// identifiers are those in the paths of the REST endpoints.
var identifiers = regexp.MustCompile(`/(id:[^/]*|module-[0-9]+)`)

// restSessions remembers the sessions that the simulator of the REST endpoints
// hands out, since it keeps them where nobody can end them.
type restSessions struct {
	items     libraryItems
	content   libraryContent
	templates libraryTemplates
	modules   *clustermodule.Modules

	mu        sync.Mutex // Guards what follows.
	ids       []string
	refusal   int
	refusals  map[string]int // by what is in a URL
	providers []IdentityProvider
}

// watch serves a request and notes the session that it begins or ends, if it does.
func (s *restSessions) watch(next *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	switch {
	case isREST(r.URL.Path) && s.refuses(w, r):
		return
	case r.URL.Path == "/api":
		// JSON-RPC, by which the simulator lets everybody in.
		w.WriteHeader(http.StatusUnauthorized)
		return
	case r.URL.Path == identityProvidersPath:
		s.listProviders(w, r)
		return
	case clustermodule.Serves(r.URL.Path):
		if !s.knows(r.Header.Get(restSessionHeader)) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.modules.ServeHTTP(w, r)
		return
	case createsLibraryItem(r):
		s.items.create(next, w, r)
		return
	case s.content.serve(next, w, r), s.templates.serve(next, w, r):
		return
	case r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/session"):
		s.forget(r.Header.Get(restSessionHeader))
	}
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/session") || r.URL.RawQuery != "" {
		next.ServeHTTP(w, r)
		return
	}
	answer := answers(next, r)
	if answer.Code == http.StatusOK || answer.Code == http.StatusCreated {
		s.note(answer.Body.Bytes())
	}
	pass(w, answer, answer.Body.Bytes())
}

func (s *restSessions) note(body []byte) {
	var id string
	if json.Unmarshal(body, &id) != nil {
		var wrapped struct{ Value string }
		if json.Unmarshal(body, &wrapped) != nil {
			return
		}
		id = wrapped.Value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = append(s.ids, id)
}

// knows says whether somebody is logged in by a session.
func (s *restSessions) knows(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.ids, id)
}

func (s *restSessions) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = slices.DeleteFunc(s.ids, func(known string) bool { return known == id })
}

// end logs every session out.
func (s *restSessions) end(handler http.Handler) {
	s.mu.Lock()
	ids := slices.Clone(s.ids)
	s.mu.Unlock()
	for _, id := range ids {
		s.endOne(handler, id)
	}
}

// endOne logs a session out, if there is one.
func (s *restSessions) endOne(handler http.Handler, id string) {
	if id == "" {
		return
	}
	s.forget(id)
	request := httptest.NewRequest(http.MethodDelete, restSessionPath, nil)
	request.Header.Set(restSessionHeader, id)
	handler.ServeHTTP(httptest.NewRecorder(), request)
}
