// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/generated/clientset/versioned"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestSystemNamespacesAreNotTaken asks for vSphere Namespaces that are called as what belongs to Kubernetes and to the
// Supervisor.
func TestSystemNamespacesAreNotTaken(t *testing.T) {
	t.Parallel()
	s := running(t)
	ctx := t.Context()
	client := versioned.NewForConfigOrDie(s.Config(t)).VsphereV1alpha1().Namespaces()
	core := kubernetes.NewForConfigOrDie(s.Config(t)).CoreV1().Namespaces()
	s.Kubectl(t, "create", "namespace", "taken-by-hand")
	// Nor does a folder of such a name in vCenter make one.
	a := s.Admin(t)
	a.Folder("kube-public")
	a.Folder("default")
	names := []string{"kube-system", "kube-public", "kube-node-lease", "default", "pacific-system", "taken-by-hand",
		"kube-new", "vmware-system-new"}
	before := map[string]*corev1.Namespace{}
	for _, name := range names {
		before[name], _ = core.Get(ctx, name, metav1.GetOptions{})
	}
	for _, name := range names {
		wanted := &v1alpha1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.NamespaceSpec{
			Access: []v1alpha1.NamespaceAccess{{Kind: v1alpha1.SubjectUser, Name: "nobody@vsphere.local",
				Role: v1alpha1.RoleOwner}},
		}}
		if _, err := client.Create(ctx, wanted, metav1.CreateOptions{}); !apierrors.IsInvalid(err) &&
			!apierrors.IsForbidden(err) {
			t.Errorf("create %s: %v", name, err)
		}
		apply := fmt.Sprintf(`{"apiVersion":"vsphere.openpacific.io/v1alpha1","kind":"Namespace","metadata":{"name":%q}}`,
			name)
		if _, err := client.Patch(ctx, name, types.ApplyPatchType, []byte(apply),
			metav1.PatchOptions{FieldManager: "x"}); !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
			t.Errorf("apply %s: %v", name, err)
		}
	}
	for _, name := range names {
		after, err := core.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			after = &corev1.Namespace{}
		}
		if diff := cmp.Diff(before[name], after); diff != "" {
			t.Errorf("the Kubernetes Namespace %s (-before +after):\n%s", name, diff)
		}
		if _, err := client.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the vSphere Namespace %s: %v", name, err)
		}
		if out, err := s.Try(ctx, "vcenter", "list", "--data-dir", string(s.Dir)); err != nil ||
			strings.Contains(out, "/"+name+"/") {
			t.Errorf("the folder %s: %v\n%s", name, err, out)
		}
	}
}

// TestRolesCannotBeRaised has people of each role do what is of a higher one, or of none.
func TestRolesCannotBeRaised(t *testing.T) {
	t.Parallel()
	s := running(t)
	ctx := t.Context()
	d := s.directory(t)
	const namespace, other = "attack-roles", "attack-roles-other"
	users := map[v1alpha1.Role]string{}
	var access []v1alpha1.NamespaceAccess
	for _, role := range []v1alpha1.Role{v1alpha1.RoleView, v1alpha1.RoleEdit, v1alpha1.RoleOwner} {
		users[role] = d.user("attack-" + strings.ToLower(string(role)))
		access = append(access, v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectUser, Name: users[role], Role: role})
	}
	s.vns(t, namespace, access...)
	s.vns(t, other)
	client := versioned.NewForConfigOrDie(s.Config(t)).VsphereV1alpha1().Namespaces()
	before, err := client.Get(ctx, namespace, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	otherBefore, err := client.Get(ctx, other, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for role, name := range users {
		config := s.LoggedIn(t, name, vcentertest.SamplePassword)
		for what, err := range raise(ctx, config, namespace, other, name) {
			if strings.HasPrefix(what, "owner: ") && role == v1alpha1.RoleOwner {
				if err != nil {
					t.Errorf("%s: %s: %v", role, what, err)
				}
			} else if !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
				t.Errorf("%s: %s: %v", role, what, err)
			}
		}
	}
	for name, before := range map[string]*v1alpha1.Namespace{namespace: before, other: otherBefore} {
		after, err := client.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before.Spec, after.Spec); diff != "" || after.DeletionTimestamp != nil {
			t.Errorf("%s is deleted at %v (-before +after):\n%s", name, after.DeletionTimestamp, diff)
		}
	}
	bindings, err := kubernetes.NewForConfigOrDie(s.Config(t)).RbacV1().RoleBindings("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, binding := range bindings.Items {
		if strings.HasPrefix(binding.Name, "raised") {
			t.Errorf("there is a RoleBinding %s/%s to %v", binding.Namespace, binding.Name, binding.RoleRef)
		}
	}
}

// raise tries to get further than one is. What begins with "owner: " an owner may, and it is not carried out.
func raise(ctx context.Context, config *rest.Config, namespace, other, name string) map[string]error {
	vns := versioned.NewForConfigOrDie(config).VsphereV1alpha1().Namespaces()
	core := kubernetes.NewForConfigOrDie(config)
	rbac := core.RbacV1()
	me := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "sso:" + name}}
	patch := func(namespace, text string, dry ...string) error {
		_, err := vns.Patch(ctx, namespace, types.MergePatchType, []byte(text), metav1.PatchOptions{DryRun: dry})
		return err
	}
	apply := func(text string) error {
		_, err := vns.Patch(ctx, namespace, types.ApplyPatchType, []byte(text),
			metav1.PatchOptions{FieldManager: "raise", Force: ptr(true)})
		return err
	}
	bind := func(namespace, role string) error {
		_, err := rbac.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "raised-by-" + strings.ReplaceAll(name, "@", "-")}, Subjects: me,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		}, metav1.CreateOptions{})
		return err
	}
	owner := fmt.Sprintf(`[{"kind":"User","name":%q,"role":"Owner"}]`, name)
	_, create := vns.Create(ctx, &v1alpha1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "raised"}},
		metav1.CreateOptions{})
	_, clusterWide := rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "raised"}, Subjects: me,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}, metav1.CreateOptions{})
	_, everything := rbac.Roles(namespace).Create(ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "raised"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}},
	}, metav1.CreateOptions{})
	_, bindingOfOurs := rbac.ClusterRoles().Patch(ctx, "pacific:view", types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
	_, annotation := core.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"vmware-system-vm-folder":"group-v1"}}}`), metav1.PatchOptions{})
	return map[string]error{
		"owner: give a role": patch(namespace, `{"spec":{"access":`+owner+`}}`, metav1.DryRunAll),
		"owner: describe it": patch(namespace, `{"spec":{"description":"mine"}}`, metav1.DryRunAll),
		"owner: delete it": vns.Delete(ctx, namespace,
			metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}),
		"raise the limits": patch(namespace, `{"spec":{"resources":{"cpuLimitMHz":99999}}}`),
		"raise the limits and describe it": patch(namespace,
			`{"spec":{"description":"mine","resources":{"memoryLimit":"1Ti"}}}`),
		"raise the limits by applying": apply(
			`{"apiVersion":"vsphere.openpacific.io/v1alpha1","kind":"Namespace","metadata":{"name":"` + namespace +
				`"},"spec":{"resources":{"cpuLimitMHz":99999}}}`),
		"take other zones":                  patch(namespace, `{"spec":{"zones":["cluster-a"]}}`),
		"take storage policies":             patch(namespace, `{"spec":{"storagePolicies":[{"name":"fast-storage"}]}}`),
		"take classes":                      patch(namespace, `{"spec":{"virtualMachineClasses":["best-effort-large"]}}`),
		"take libraries":                    patch(namespace, `{"spec":{"contentLibraries":["images"]}}`),
		"take networks":                     patch(namespace, `{"spec":{"networks":["management-net"]}}`),
		"give a role elsewhere":             patch(other, `{"spec":{"access":`+owner+`}}`),
		"describe another":                  patch(other, `{"spec":{"description":"mine"}}`),
		"delete another":                    vns.Delete(ctx, other, metav1.DeleteOptions{}),
		"create one":                        create,
		"delete all":                        vns.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}),
		"delete the Kubernetes Namespace":   core.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}),
		"move the Kubernetes Namespace":     annotation,
		"bind cluster-admin":                bind(namespace, "cluster-admin"),
		"bind cluster-admin elsewhere":      bind(other, "cluster-admin"),
		"bind pacific:owner elsewhere":      bind(other, "pacific:owner"),
		"bind pacific:view elsewhere":       bind(other, "pacific:view"),
		"bind cluster-admin in the cluster": clusterWide,
		"make a role of everything":         everything,
		"change the ClusterRole":            bindingOfOurs,
		"read the secrets of the Supervisor": second(core.CoreV1().Secrets("pacific-system").List(ctx,
			metav1.ListOptions{})),
		"get a token of the Supervisor's own": second(core.CoreV1().ServiceAccounts("pacific-system").CreateToken(ctx,
			"vsphere-apiserver", nil, metav1.CreateOptions{})),
	}
}

func second[T any](_ T, err error) error { return err }

// TestOddNamesInAccess gives roles to groups whose names mean something elsewhere. Each is refused, with the field, or
// stands for the group of exactly that name.
func TestOddNamesInAccess(t *testing.T) {
	t.Parallel()
	s := running(t)
	ctx := t.Context()
	client := versioned.NewForConfigOrDie(s.Config(t)).VsphereV1alpha1().Namespaces()
	admin := kubernetes.NewForConfigOrDie(s.Config(t))
	d := s.directory(t)
	insider, outsider := d.user("odd-insider"), d.user("odd-outsider")
	long := strings.Repeat("l", 240)
	odd := []string{
		"two words", "a/b", "a%2fb", "100%", `quo"ted`, "sin'gle", "<b>&amp;", "grüppe", "組", "a,b", "a:b", "system:masters",
		"a@b", "*", "..", "-", "{{.}}", "$(id)", ";", long,
	}
	var groups []v1alpha1.NamespaceAccess
	for _, name := range odd {
		d.group(name)
		// Whoever is in a group of nearly that name has nothing from it.
		d.group(name + "x")
		d.done(d.AddUsersToGroup(ctx, name+"@vsphere.local", principal("odd-insider")))
		d.done(d.AddUsersToGroup(ctx, name+"x@vsphere.local", principal("odd-outsider")))
		groups = append(groups, v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectGroup, Name: name + "@vsphere.local",
			Role: v1alpha1.RoleView})
	}
	in, out := s.LoggedIn(t, insider, vcentertest.SamplePassword), s.LoggedIn(t, outsider, vcentertest.SamplePassword)
	const namespace = "attack-odd-names"
	s.vns(t, namespace)
	for _, entry := range groups {
		object, err := client.Get(ctx, namespace, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		object.Spec.Access = []v1alpha1.NamespaceAccess{entry}
		if _, err := client.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.access[0].name") {
				t.Errorf("%q: %v", entry.Name, err)
			}
			continue
		}
		waittest.Within(t, 20*time.Second, fmt.Sprintf("the RoleBinding of %q", entry.Name), func(ctx context.Context) error {
			list, err := admin.RbacV1().RoleBindings(namespace).List(ctx,
				metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=pacific"})
			if err != nil {
				return err
			}
			subjects := []string{}
			for _, binding := range list.Items {
				for _, subject := range binding.Subjects {
					subjects = append(subjects, subject.Kind+" "+subject.Name+" "+binding.RoleRef.Name)
				}
			}
			if diff := cmp.Diff([]string{"Group sso:" + entry.Name + " pacific:view"}, subjects); diff != "" {
				return fmt.Errorf("subjects (-want +got):\n%s", diff)
			}
			return lists(ctx, in, namespace)
		})
		if err := lists(ctx, out, namespace); !apierrors.IsForbidden(err) {
			t.Errorf("%q: who is in a group of nearly that name: %v", entry.Name, err)
		}
	}
	for _, name := range []string{
		"system:masters", "masters", "", "@", "@vsphere.local", "dev@", "dev@vsphere.local ", " dev@vsphere.local", "dev @",
		"dev@vsphere local", "dev@-", "dev@a..b",
		"a\nb@vsphere.local", "a\x00b@vsphere.local", "a\x1b[2Jb@vsphere.local", "a\u202eb@vsphere.local",
		"a\u200bb@vsphere.local", "a\ufffdb@vsphere.local",
		strings.Repeat("l", 300) + "@vsphere.local", `VSPHERE.LOCAL\dev`,
	} {
		object, err := client.Get(ctx, namespace, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []v1alpha1.SubjectKind{v1alpha1.SubjectUser, v1alpha1.SubjectGroup} {
			object.Spec.Access = []v1alpha1.NamespaceAccess{{Kind: kind, Name: name, Role: v1alpha1.RoleOwner}}
			if _, err := client.Update(ctx, object, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) ||
				!strings.Contains(err.Error(), "spec.access[0].name") {
				t.Errorf("%s %q: %v", kind, name, err)
			}
		}
	}
}
