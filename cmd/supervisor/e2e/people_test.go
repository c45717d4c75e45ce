// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/ssoadmin"
	ssomethods "github.com/vmware/govmomi/ssoadmin/methods"
	sso "github.com/vmware/govmomi/ssoadmin/types"
	"github.com/vmware/govmomi/sts"
	"github.com/vmware/govmomi/vim25/soap"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/generated/clientset/versioned"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// vns makes a vSphere Namespace as the administrator and waits until the access that it gives counts. It goes with the
// test.
func (s *supervisor) vns(t *testing.T, name string, access ...v1alpha1.NamespaceAccess) string {
	t.Helper()
	client := versioned.NewForConfigOrDie(s.Config(t)).VsphereV1alpha1().Namespaces()
	made := &v1alpha1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.NamespaceSpec{Access: access}}
	if _, err := client.Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = client.Delete(ctx, name, metav1.DeleteOptions{})
	})
	s.binds(t, name, len(access))
	return name
}

// binds waits until a vSphere Namespace gives so many roles.
func (s *supervisor) binds(t *testing.T, namespace string, count int) {
	t.Helper()
	client := kubernetes.NewForConfigOrDie(s.Config(t))
	waittest.Within(t, 30*time.Second, "the RoleBindings of "+namespace, func(ctx context.Context) error {
		if _, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{}); err != nil {
			return err
		}
		list, err := client.RbacV1().RoleBindings(namespace).List(ctx,
			metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=pacific"})
		if err == nil && len(list.Items) != count {
			err = fmt.Errorf("%d RoleBindings", len(list.Items))
		}
		return err
	})
}

// deeds are what people try in a namespace. Those that would harm the samples are tried without their being done.
var deeds = []string{
	"get vm", "patch vm", "create vm", "delete vm",
	"get configmap", "create configmap", "delete configmap",
	"get vns", "rename vns", "limit vns", "give roles", "delete vns",
}

// does tries everything in a namespace that has the machine and the ConfigMap of these names, and returns what is let
// through. What is refused must be refused for want of rights.
func does(t *testing.T, config *rest.Config, namespace, machine, configMap string) []string {
	t.Helper()
	ctx := t.Context()
	dynamic, core := dynamic.NewForConfigOrDie(config), kubernetes.NewForConfigOrDie(config)
	vms, configMaps := dynamic.Resource(supervisortest.Machines).Namespace(namespace), core.CoreV1().ConfigMaps(namespace)
	vns := versioned.NewForConfigOrDie(config).VsphereV1alpha1().Namespaces()
	dry := []string{metav1.DryRunAll}
	patch := func(text string) error {
		_, err := vns.Patch(ctx, namespace, types.MergePatchType, []byte(text), metav1.PatchOptions{DryRun: dry})
		return err
	}
	tries := map[string]func() error{
		"get vm": func() error { _, err := vms.Get(ctx, machine, metav1.GetOptions{}); return err },
		"patch vm": func() error {
			_, err := vms.Patch(ctx, machine, types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`),
				metav1.PatchOptions{DryRun: dry})
			return err
		},
		"create vm": func() error {
			made := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": supervisortest.Machines.GroupVersion().String(), "kind": "VirtualMachine",
				"metadata": map[string]any{"name": "made"},
				"spec":     map[string]any{"className": "small", "imageName": "ubuntu", "storageClass": "fast"},
			}}
			_, err := vms.Create(ctx, made, metav1.CreateOptions{DryRun: dry})
			return err
		},
		"delete vm":     func() error { return vms.Delete(ctx, machine, metav1.DeleteOptions{DryRun: dry}) },
		"get configmap": func() error { _, err := configMaps.Get(ctx, configMap, metav1.GetOptions{}); return err },
		"create configmap": func() error {
			_, err := configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: configMap + "-made"}},
				metav1.CreateOptions{})
			return err
		},
		"delete configmap": func() error { return configMaps.Delete(ctx, configMap, metav1.DeleteOptions{}) },
		"get vns":          func() error { _, err := vns.Get(ctx, namespace, metav1.GetOptions{}); return err },
		"rename vns":       func() error { return patch(`{"spec":{"description":"mine"}}`) },
		"limit vns":        func() error { return patch(`{"spec":{"resources":{"cpuLimitMHz":123456}}}`) },
		"give roles": func() error {
			return patch(`{"spec":{"access":[{"kind":"User","name":"friend@vsphere.local","role":"Owner"}]}}`)
		},
		"delete vns": func() error { return vns.Delete(ctx, namespace, metav1.DeleteOptions{DryRun: dry}) },
	}
	done := []string{}
	for _, deed := range deeds {
		err := tries[deed]()
		switch {
		case err == nil:
			done = append(done, deed)
		case apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot "),
			strings.HasSuffix(deed, "vns") && apierrors.IsNotFound(err),
			deed == "give roles" && apierrors.IsNotFound(err):
		case (deed == "delete vm" || deed == "create vm") && !strings.Contains(err.Error(), " cannot "):
			// Let through by the rights, and refused for what it is: it would destroy what Pacific did not make, or it is of
			// a class that does not exist.
			done = append(done, deed)
		default:
			t.Errorf("%s in %s: %v", deed, namespace, err)
		}
	}
	return done
}

// mays are what the server itself says that somebody may do to ConfigMaps, machines and the vSphere Namespace.
func mays(t *testing.T, config *rest.Config, namespace string) []string {
	t.Helper()
	client := kubernetes.NewForConfigOrDie(config).AuthorizationV1().SelfSubjectAccessReviews()
	allowed := []string{}
	for _, asked := range []authorizationv1.ResourceAttributes{
		{Verb: "get", Group: supervisortest.Machines.Group, Resource: supervisortest.Machines.Resource},
		{Verb: "create", Group: supervisortest.Machines.Group, Resource: supervisortest.Machines.Resource},
		{Verb: "delete", Group: supervisortest.Machines.Group, Resource: supervisortest.Machines.Resource},
		{Verb: "get", Resource: "configmaps"}, {Verb: "create", Resource: "configmaps"},
		{Verb: "delete", Resource: "configmaps"},
		{Verb: "update", Group: v1alpha1.GroupName, Resource: "namespaces", Name: namespace},
		{Verb: "delete", Group: v1alpha1.GroupName, Resource: "namespaces", Name: namespace},
	} {
		asked.Namespace = namespace
		review, err := client.Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &asked}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed {
			resource := asked.Resource
			if asked.Group == v1alpha1.GroupName {
				resource = "vns"
			}
			allowed = append(allowed, asked.Verb+" "+resource)
		}
	}
	return allowed
}

// TestPeopleDoWhatTheirRoleSays has the five people of the simulated vCenter try everything in both of the teams.
func TestPeopleDoWhatTheirRoleSays(t *testing.T) {
	t.Parallel()
	s := running(t)
	type rights struct{ Does, Mays []string }
	var (
		nothing = rights{[]string{}, []string{}}
		view    = rights{[]string{"get vm", "get configmap", "get vns"}, []string{"get virtualmachines", "get configmaps"}}
		edit    = rights{
			[]string{"get vm", "patch vm", "create vm", "delete vm", "get configmap", "create configmap", "delete configmap",
				"get vns"},
			[]string{"get virtualmachines", "create virtualmachines", "delete virtualmachines", "get configmaps",
				"create configmaps", "delete configmaps"},
		}
		own = rights{append(edit.Does[:len(edit.Does):len(edit.Does)], "rename vns", "give roles", "delete vns"),
			append(edit.Mays[:len(edit.Mays):len(edit.Mays)], "update vns", "delete vns")}
		all = rights{deeds, own.Mays}
	)
	for name, want := range map[string]struct {
		password     string
		teamA, teamB rights
	}{
		"administrator": {s.AdministratorPassword(t), all, all},
		"dev-a":         {vcentertest.SamplePassword, edit, nothing},
		"viewer":        {vcentertest.SamplePassword, view, nothing},
		"owner-b":       {vcentertest.SamplePassword, nothing, own},
		"nobody":        {vcentertest.SamplePassword, nothing, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := s.LoggedIn(t, name+"@vsphere.local", want.password)
			admin := kubernetes.NewForConfigOrDie(s.Config(t)).CoreV1()
			for _, team := range []struct {
				namespace, machine string
				want               rights
			}{{"team-a", "web-1", want.teamA}, {"team-b", "queue-1", want.teamB}} {
				configMap := "deeds-of-" + name
				made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: configMap}}
				if _, err := admin.ConfigMaps(team.namespace).Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					for _, left := range []string{configMap, configMap + "-made"} {
						_ = admin.ConfigMaps(team.namespace).Delete(context.Background(), left, metav1.DeleteOptions{})
					}
				})
				got := rights{does(t, config, team.namespace, team.machine, configMap), mays(t, config, team.namespace)}
				if diff := cmp.Diff(team.want, got); diff != "" {
					t.Errorf("%s in %s (-want +got):\n%s", name, team.namespace, diff)
				}
			}
		})
	}
}

// directory is a VI admin at the administration service of single sign-on.
type directory struct {
	t *testing.T
	*ssoadmin.Client
}

func (s *supervisor) directory(t *testing.T) directory {
	t.Helper()
	ctx := t.Context()
	client := s.Admin(t).Client.Client
	tokens := client.NewServiceClient("/sts/STSService", sts.Namespace)
	signer, err := (&sts.Client{Client: tokens, RoundTripper: tokens}).Issue(ctx, sts.TokenRequest{
		Userinfo: url.UserPassword("administrator@vsphere.local", s.AdministratorPassword(t)),
	})
	if err != nil {
		t.Fatal(err)
	}
	service := client.NewServiceClient("/sso-adminserver/sdk/vsphere.local", ssoadmin.Namespace)
	d := directory{t, &ssoadmin.Client{Client: service, RoundTripper: service, Domain: "vsphere.local", Limit: 100}}
	content, err := ssomethods.SsoAdminServiceInstance(ctx, d,
		&sso.SsoAdminServiceInstance{This: ssoadmin.ServiceInstance})
	if err != nil {
		t.Fatal(err)
	}
	d.ServiceContent = content.Returnval
	if err := d.Login(d.WithHeader(ctx, soap.Header{Security: signer})); err != nil {
		t.Fatal(err)
	}
	return d
}

// done fails the test when something could not be done.
func (d directory) done(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatalf("VI admin, in single sign-on: %v", err)
	}
}

func principal(name string) sso.PrincipalId {
	return sso.PrincipalId{Name: name, Domain: "vsphere.local"}
}

// user makes a user with SamplePassword, who goes with the test.
func (d directory) user(name string) string {
	d.t.Helper()
	d.done(d.CreatePersonUser(d.t.Context(), name, sso.AdminPersonDetails{}, vcentertest.SamplePassword))
	d.t.Cleanup(func() { _ = d.DeletePrincipal(context.WithoutCancel(d.t.Context()), name) })
	return name + "@vsphere.local"
}

func (d directory) group(name string) string {
	d.t.Helper()
	d.done(d.CreateGroup(d.t.Context(), name, sso.AdminGroupDetails{}))
	d.t.Cleanup(func() { _ = d.DeletePrincipal(context.WithoutCancel(d.t.Context()), name) })
	return name + "@vsphere.local"
}

// lists says whether somebody may list the machines of a namespace.
func lists(ctx context.Context, config *rest.Config, namespace string) error {
	_, err := dynamic.NewForConfigOrDie(config).Resource(supervisortest.Machines).Namespace(namespace).List(ctx,
		metav1.ListOptions{})
	return err
}

// TestAGroupCountsAtTheNextLogin takes people out of the groups, direct and nested, that give them a role.
func TestAGroupCountsAtTheNextLogin(t *testing.T) {
	t.Parallel()
	s := running(t)
	d := s.directory(t)
	ctx := t.Context()
	direct, nested := d.user("direct-viewer"), d.user("nested-viewer")
	group := d.group("people-viewers")
	d.group("people-night-shift")
	d.done(d.AddUsersToGroup(ctx, "people-viewers", principal("direct-viewer")))
	d.done(d.AddUsersToGroup(ctx, "people-night-shift", principal("nested-viewer")))
	d.done(d.AddGroupsToGroup(ctx, "people-viewers", principal("people-night-shift")))
	namespace := s.vns(t, "people-groups", v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectGroup, Name: group,
		Role: v1alpha1.RoleView})

	before := map[string]*rest.Config{}
	for _, name := range []string{direct, nested} {
		before[name] = s.LoggedIn(t, name, vcentertest.SamplePassword)
		if err := lists(ctx, before[name], namespace); err != nil {
			t.Errorf("%s, in the group: %v", name, err)
		}
	}
	d.done(d.RemoveUsersFromGroup(ctx, "people-viewers", principal("direct-viewer"), principal("people-night-shift")))
	for _, name := range []string{direct, nested} {
		if err := lists(ctx, s.LoggedIn(t, name, vcentertest.SamplePassword), namespace); !apierrors.IsForbidden(err) {
			t.Errorf("%s, out of the group and logged in again: %v", name, err)
		}
	}
	// Back in it, one by way of the other group.
	d.done(d.AddUsersToGroup(ctx, "people-night-shift", principal("direct-viewer")))
	d.done(d.AddGroupsToGroup(ctx, "people-viewers", principal("people-night-shift")))
	if err := lists(ctx, s.LoggedIn(t, direct, vcentertest.SamplePassword), namespace); err != nil {
		t.Errorf("%s, in a group of the group: %v", direct, err)
	}
}

// TestWhoIsGoneGetsNoToken disables and removes people in single sign-on.
func TestWhoIsGoneGetsNoToken(t *testing.T) {
	t.Parallel()
	s := running(t)
	d := s.directory(t)
	ctx := t.Context()
	disabled, removed := d.user("soon-disabled"), d.user("soon-removed")
	for _, name := range []string{disabled, removed} {
		s.LoggedIn(t, name, vcentertest.SamplePassword)
	}
	_, err := ssomethods.DisableUserAccount(ctx, d, &sso.DisableUserAccount{
		This: d.ServiceContent.PrincipalManagementService, UserId: principal("soon-disabled")})
	d.done(err)
	d.done(d.DeletePrincipal(ctx, "soon-removed"))
	for _, name := range []string{disabled, removed} {
		if out, err := s.Person(t, name).Login(t, vcentertest.SamplePassword); err == nil ||
			!strings.Contains(out, "invalid or missing credentials") {
			t.Errorf("login of %s: %v\n%s", name, err, out)
		}
	}
	_, err = ssomethods.EnableUserAccount(ctx, d, &sso.EnableUserAccount{This: d.ServiceContent.PrincipalManagementService,
		UserId: principal("soon-disabled")})
	d.done(err)
	s.LoggedIn(t, disabled, vcentertest.SamplePassword)
}

// TestAccessCountsAtOnce changes spec.access under a token that was handed out before.
func TestAccessCountsAtOnce(t *testing.T) {
	t.Parallel()
	s := running(t)
	name := s.directory(t).user("promoted")
	namespace := s.vns(t, "people-roles", v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectUser, Name: name,
		Role: v1alpha1.RoleView})
	config := s.LoggedIn(t, name, vcentertest.SamplePassword)
	for _, step := range []struct {
		access string
		want   []string
	}{
		{`[{"kind":"User","name":"promoted@vsphere.local","role":"View"}]`,
			[]string{"get virtualmachines", "get configmaps"}},
		{`[{"kind":"User","name":"promoted@vsphere.local","role":"Owner"}]`, []string{
			"get virtualmachines", "create virtualmachines", "delete virtualmachines", "get configmaps", "create configmaps",
			"delete configmaps", "update vns", "delete vns"}},
		{`[{"kind":"User","name":"promoted@vsphere.local","role":"Edit"}]`, []string{
			"get virtualmachines", "create virtualmachines", "delete virtualmachines", "get configmaps", "create configmaps",
			"delete configmaps"}},
		{`[{"kind":"User","name":"another@vsphere.local","role":"Owner"}]`, []string{}},
	} {
		s.Kubectl(t, "patch", "vns", namespace, "--type=merge", "-p", `{"spec":{"access":`+step.access+`}}`)
		waittest.Within(t, 20*time.Second, "the rights of "+step.access, func(context.Context) error {
			if diff := cmp.Diff(step.want, mays(t, config, namespace)); diff != "" {
				return errors.New("rights (-want +got):\n" + diff)
			}
			return nil
		})
	}
	waittest.Within(t, 20*time.Second, "the server to hold to it", func(ctx context.Context) error {
		if err := lists(ctx, config, namespace); !apierrors.IsForbidden(err) {
			return fmt.Errorf("who lost every role lists: %v", err)
		}
		return nil
	})
}
