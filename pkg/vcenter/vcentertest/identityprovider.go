// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"encoding/json"
	"net/http"
	"slices"
)

const identityProvidersPath = "/api/vcenter/identity/providers"

// IdentityProvider is one that vCenter federates with. The people of its domains have
// no password that vCenter could look at.
type IdentityProvider struct {
	Name    string   `json:"name"`
	Type    string   `json:"config_tag"` // Oauth2 or Oidc
	Domains []string `json:"domain_names"`
}

// SetIdentityProviders has vCenter federate with these and no others.
func (v *VCenter) SetIdentityProviders(providers ...IdentityProvider) {
	v.rest.mu.Lock()
	defer v.rest.mu.Unlock()
	v.rest.providers = providers
}

// listProviders answers whoever has a session; the simulator does not know the endpoint.
func (s *restSessions) listProviders(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.ids, r.Header.Get(restSessionHeader)) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(append([]IdentityProvider{}, s.providers...))
}
