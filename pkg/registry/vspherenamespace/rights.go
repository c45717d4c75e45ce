// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

const (
	// decisionAge is for how long a decision is kept.
	decisionAge = 5 * time.Second
	// decisions is how many are kept: 500 namespaces for a hundred users.
	decisions = 50_000
)

// Reviewer says of each of the Kubernetes Namespaces, in their order, whether
// somebody may get virtual machines in it.
type Reviewer interface {
	Sees(ctx context.Context, who user.Info, namespaces []string) ([]bool, error)
}

// rights answers who may do what. It asks the server's authorizer and keeps the
// answers for a short time; about many Namespaces at once it asks the reviewer.
type rights struct {
	authorizer authorizer.UnconditionalAuthorizer
	reviewer   Reviewer
	kept       *cache.LRUExpireCache
}

func newRights(authorizer authorizer.UnconditionalAuthorizer, reviewer Reviewer, clock clock.PassiveClock) *rights {
	return &rights{authorizer: authorizer, reviewer: reviewer, kept: cache.NewLRUExpireCacheWithClock(decisions, clock)}
}

// caller is who asks. Two with the same fingerprint have the same rights.
type caller struct {
	user.Info
	fingerprint [sha256.Size]byte
}

func callerFrom(ctx context.Context) (caller, error) {
	info, found := genericapirequest.UserFrom(ctx)
	if !found || info == nil {
		return caller{}, apierrors.NewForbidden(qualified(), "", errors.New("nobody is logged in"))
	}
	return callerOf(info)
}

func callerOf(info user.Info) (caller, error) {
	identity, err := json.Marshal([]any{info.GetName(), info.GetUID(), info.GetGroups(), info.GetExtra()})
	if err != nil {
		return caller{}, fmt.Errorf("tell users apart: %w", err)
	}
	return caller{Info: info, fingerprint: sha256.Sum256(identity)}, nil
}

type question struct {
	caller                                 [sha256.Size]byte
	verb, group, resource, namespace, name string
}

// may says whether the caller may do something in a Kubernetes Namespace; "" is
// in all of them.
func (r *rights) may(ctx context.Context, who caller, verb, group, resource, namespace, name string) (bool, error) {
	asked := question{who.fingerprint, verb, group, resource, namespace, name}
	if answer, found := r.kept.Get(asked); found {
		return answer.(bool), nil
	}
	if r.authorizer == nil {
		return false, nil
	}
	decision, _, err := r.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: who.Info, Verb: verb, APIGroup: group, APIVersion: "*", Resource: resource, Namespace: namespace, Name: name, ResourceRequest: true,
	})
	if decision == authorizer.DecisionAllow {
		r.kept.Add(asked, true, decisionAge)
		return true, nil
	}
	if err != nil {
		return false, apierrors.NewServiceUnavailable(fmt.Sprintf("cannot find out who may do what: %v", err))
	}
	r.kept.Add(asked, false, decisionAge)
	return false, nil
}

// showOne shows somebody a vSphere Namespace that they ask for by its name.
func (r *rights) showOne(ctx context.Context, who user.Info, object *v1alpha1.Namespace) (*v1alpha1.Namespace, error) {
	if hasRole(who, object.Spec.Access) {
		return object, nil
	}
	asking, err := callerOf(who)
	if err != nil {
		return nil, err
	}
	seen, err := r.may(ctx, asking, "get", "vmoperator.vmware.com", "virtualmachines", object.Name, "")
	if err != nil || !seen {
		return nil, err
	}
	return object, nil
}

// showEach shows somebody those of the objects that are theirs, in lists and
// watches.
func (r *rights) showEach(ctx context.Context, who user.Info, objects []*v1alpha1.Namespace) ([]*v1alpha1.Namespace, error) {
	shown := make([]*v1alpha1.Namespace, len(objects))
	var asked []int
	var names []string
	for i, object := range objects {
		if hasRole(who, object.Spec.Access) {
			shown[i] = object
		} else {
			asked, names = append(asked, i), append(names, object.Name)
		}
	}
	answers, err := r.reviewer.Sees(ctx, who, names)
	if err != nil {
		return nil, err
	}
	for i, seen := range answers {
		if seen {
			shown[asked[i]] = objects[asked[i]]
		}
	}
	return shown, nil
}

func hasRole(who user.Info, access []v1alpha1.NamespaceAccess) bool {
	for _, entry := range access {
		subject := vsphere.SubjectPrefix + entry.Name
		switch entry.Kind {
		case v1alpha1.SubjectUser:
			if who.GetName() == subject {
				return true
			}
		case v1alpha1.SubjectGroup:
			for _, group := range who.GetGroups() {
				if group == subject {
					return true
				}
			}
		}
	}
	return false
}

// mayChange refuses a caller who may not do verb to a vSphere Namespace. The
// request was authorised before it came here: this is for what comes by another
// way, such as an apply to a name that has come to be there in the meantime.
func (r *rights) mayChange(ctx context.Context, verb, name string) error {
	return r.require(ctx, verb, name, name, "cannot "+verb+" it: that takes the role Owner in it")
}

// mayAdminister refuses a caller who does not give out what is vCenter's: who may
// change all vSphere Namespaces does.
func (r *rights) mayAdminister(ctx context.Context, name string) error {
	return r.require(ctx, "update", "", name, "cannot change more of it than spec.access, spec.description and metadata: "+
		"that takes the right to update vSphere Namespaces in the whole cluster")
}

// mayTakeOver refuses a caller who takes what others made in vCenter. Who may
// change all vSphere Namespaces may.
func (r *rights) mayTakeOver(ctx context.Context, name string) error {
	return r.require(ctx, "update", "", name, "cannot take over what is in vCenter already (spec.folder, spec.resourcePools): "+
		"that takes the right to update vSphere Namespaces in the whole cluster")
}

func (r *rights) require(ctx context.Context, verb, namespace, name, refusal string) error {
	who, err := callerFrom(ctx)
	if err != nil {
		return err
	}
	allowed, err := r.may(ctx, who, verb, v1alpha1.GroupName, "namespaces", namespace, name)
	if err != nil {
		return err
	}
	if !allowed {
		return apierrors.NewForbidden(qualified(), name, fmt.Errorf("user %q %s", who.GetName(), refusal))
	}
	return nil
}

// mayGrant refuses a caller who gives a role that is not theirs to give.
func (r *rights) mayGrant(ctx context.Context, name string, before, after []v1alpha1.NamespaceAccess) error {
	held := make(map[v1alpha1.NamespaceAccess]bool, len(before))
	for _, entry := range before {
		held[entry] = true
	}
	for _, entry := range after {
		if held[entry] {
			continue
		}
		who, err := callerFrom(ctx)
		if err != nil {
			return err
		}
		allowed, err := r.may(ctx, who, "bind", "rbac.authorization.k8s.io", "clusterroles", name, entry.Role.ClusterRoleName())
		if err != nil {
			return err
		}
		if !allowed {
			return apierrors.NewForbidden(qualified(), name, fmt.Errorf("spec.access: user %q cannot give the role %s in it: that takes the role Owner, or the verb bind on the ClusterRole %s",
				who.GetName(), entry.Role, entry.Role.ClusterRoleName()))
		}
	}
	return nil
}
