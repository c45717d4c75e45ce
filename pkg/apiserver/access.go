// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/login"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
)

// reviewer says of each of the Kubernetes Namespaces, in their order, whether
// somebody may get virtual machines in it.
type reviewer interface {
	Sees(ctx context.Context, who user.Info, namespaces []string) ([]bool, error)
}

// roles tells the login service in which namespaces a user may read machines, by
// the cluster's own authorisation, so that whoever gives a role by RBAC has said
// all there is to say.
type roles struct {
	picture  *picture.Picture
	reviewer reviewer
}

// Of implements login.Workloads.
func (r roles) Of(ctx context.Context, identity login.Identity) ([]login.Workload, error) {
	var names []string
	for _, namespace := range r.picture.Namespaces() {
		if !namespace.Detached {
			names = append(names, namespace.Name)
		}
	}
	allowed, err := r.reviewer.Sees(ctx, userInfo(identity), names)
	if err != nil {
		return nil, fmt.Errorf("ask for the rights of %s: %w", identity.Name(), err)
	}
	var workloads []login.Workload
	for i, name := range names {
		if allowed[i] {
			workloads = append(workloads, login.Workload{Namespace: name})
		}
	}
	return workloads, nil
}

// userInfo is how Kubernetes will know somebody by the token.
func userInfo(identity login.Identity) user.Info {
	groups := []string{user.AllAuthenticated}
	for _, group := range identity.Groups {
		groups = append(groups, vsphere.SubjectPrefix+group)
	}
	return &user.DefaultInfo{Name: vsphere.SubjectPrefix + identity.Name(), Groups: groups}
}
