// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"

	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
)

// Filters are what a server has around its endpoints for the kinds, innermost.
func Filters(next http.Handler) http.Handler { return clusterScoped(NoteUpdates(next)) }

// clusterScoped gives back to requests for a kind that is called namespaces, outside of the core group, that its
// objects lie in none. The library takes whatever follows "namespaces" in a path for one. That is welcome where
// requests are authorised, as it is for Kubernetes' own Namespaces: a RoleBinding in a Namespace counts for it. Past
// that, a PUT would be refused and an apply would wait for a Namespace that is not there yet.
func clusterScoped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, found := genericapirequest.RequestInfoFrom(r.Context())
		if found && info.IsResourceRequest && info.APIGroup != "" && info.Resource == "namespaces" && info.Namespace != "" {
			changed := *info
			changed.Namespace = ""
			r = r.WithContext(genericapirequest.WithRequestInfo(r.Context(), &changed))
		}
		next.ServeHTTP(w, r)
	})
}
