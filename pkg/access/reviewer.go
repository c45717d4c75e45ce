// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	rbacinformers "k8s.io/client-go/informers/rbac/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/openpacific/pacific/pkg/failure"
)

// reviews is how many are under way at once for one question.
const reviews = 16

// Reviewer tells who may read virtual machines where.
type Reviewer struct {
	authorizer authorizer.UnconditionalAuthorizer
	bindings   cache.SharedIndexInformer
}

// NewReviewer returns one that asks the authorizer and narrows what it asks by the
// RoleBindings, to whose informer it adds an index. Somebody else starts the
// informer, before or after; as long as nobody does, the Reviewer asks for each
// Namespace.
func NewReviewer(authorizer authorizer.UnconditionalAuthorizer,
	bindings rbacinformers.RoleBindingInformer) (*Reviewer, error) {
	informer := bindings.Informer()
	if err := informer.AddIndexers(cache.Indexers{bySubject: subjects}); err != nil {
		return nil, fmt.Errorf("index RoleBindings by subject: %w", err)
	}
	return &Reviewer{authorizer: authorizer, bindings: informer}, nil
}

// Sees says of each of the Kubernetes Namespaces, in their order, whether somebody
// may get virtual machines in it. It is all or nothing: when one answer is missing,
// the error wraps failure.Unavailable and there are none.
func (r *Reviewer) Sees(ctx context.Context, who user.Info, namespaces []string) ([]bool, error) {
	seen := make([]bool, len(namespaces))
	if len(namespaces) == 0 {
		return seen, nil
	}
	everywhere, err := r.review(ctx, who, metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	if everywhere {
		for i := range seen {
			seen[i] = true
		}
		return seen, nil
	}
	// Whether the index is filled is looked at before it is read: the other way
	// round, an empty one could be taken for filled.
	filled := r.bindings.HasSynced()
	candidates, err := candidates(r.bindings.GetIndexer(), who)
	if err != nil {
		return nil, err
	}
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(reviews)
	for i, namespace := range namespaces {
		if filled && !candidates.Has(namespace) {
			continue
		}
		asking.Go(func() (err error) {
			seen[i], err = r.review(ctx, who, namespace)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	return seen, nil
}

// review asks the authorizer about one Namespace, or about all at once.
func (r *Reviewer) review(ctx context.Context, who user.Info, namespace string) (bool, error) {
	decision, _, err := r.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: who, Verb: "get", APIGroup: "vmoperator.vmware.com", APIVersion: "*", Resource: "virtualmachines",
		Namespace: namespace, ResourceRequest: true,
	})
	if decision == authorizer.DecisionAllow {
		return true, nil // as kube-apiserver has it: an error beside it is of an authorizer that had no say
	}
	if err != nil {
		// Not wrapped: kube-apiserver's status is an answer to this server, and
		// would be taken for the one to the user.
		return false, fmt.Errorf("cannot find out where %q may read virtual machines: %w: %v", who.GetName(),
			failure.Unavailable, err)
	}
	return false, nil
}
