// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/tools/cache"
)

// bySubject is the name of the index.
const bySubject = "pacific.subject"

// subjects are what a RoleBinding lies under in the index: each user and group that
// it names. A service account is the user that it logs in as.
func subjects(object any) ([]string, error) {
	binding, ok := object.(*rbacv1.RoleBinding)
	if !ok {
		return nil, fmt.Errorf("index a RoleBinding by subject: got a %T", object)
	}
	keys := make([]string, 0, len(binding.Subjects))
	for _, subject := range binding.Subjects {
		switch subject.Kind {
		case rbacv1.UserKind:
			keys = append(keys, userKey(subject.Name))
		case rbacv1.GroupKind:
			keys = append(keys, groupKey(subject.Name))
		case rbacv1.ServiceAccountKind:
			namespace := subject.Namespace
			if namespace == "" {
				namespace = binding.Namespace // as RBAC reads it
			}
			keys = append(keys, userKey(serviceaccount.MakeUsername(namespace, subject.Name)))
		}
	}
	return keys, nil
}

func userKey(name string) string { return rbacv1.UserKind + ":" + name }

func groupKey(name string) string { return rbacv1.GroupKind + ":" + name }

// candidates are the Namespaces with a RoleBinding that names the user or one of
// their groups.
func candidates(bindings cache.Indexer, who user.Info) (sets.Set[string], error) {
	keys := []string{userKey(who.GetName())}
	for _, group := range who.GetGroups() {
		keys = append(keys, groupKey(group))
	}
	found := sets.New[string]()
	for _, key := range keys {
		objects, err := bindings.IndexKeys(bySubject, key)
		if err != nil {
			return nil, fmt.Errorf("look for the RoleBindings of %s: %w", key, err)
		}
		for _, object := range objects {
			namespace, _, err := cache.SplitMetaNamespaceKey(object)
			if err != nil {
				return nil, fmt.Errorf("look for the RoleBindings of %s: %w", key, err)
			}
			found.Insert(namespace)
		}
	}
	return found, nil
}
