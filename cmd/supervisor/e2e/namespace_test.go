// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/waittest"
)

func TestDeletedNamespaceIsDetached(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("detached")
	adopted := a.Create(namespace, "adopted", supervisortest.PoweredOn)
	labelled := a.Create(namespace, "labelled", supervisortest.PoweredOff)
	ours, err := a.CreateAsPacific(namespace, "ours", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Serves(t, namespace, "adopted", "labelled", "ours")
	s.Kubectl(t, "label", "vm", "-n", namespace, "labelled", "kept=yes")
	claim := a.FolderID(namespace)

	client := kubernetes.NewForConfigOrDie(s.Config(t)).CoreV1().Namespaces()
	s.Kubectl(t, "delete", "namespace", namespace, "--wait=false")
	took := waittest.Within(t, time.Minute, "the end of the Namespace", func(ctx context.Context) error {
		found, err := client.Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		return fmt.Errorf("it is there: %v", found.Status)
	})
	fmt.Printf("a Namespace with machines is deleted after %.1f s\n", took.Seconds())
	if a.Properties(adopted) == nil || a.Properties(labelled) == nil {
		t.Error("machines that Pacific did not make are gone from vCenter")
	} else if state := a.Properties(adopted).Runtime.PowerState; state != supervisortest.PoweredOn {
		t.Errorf("the machine that Pacific did not make is %s", state)
	}
	if a.Properties(ours) != nil {
		t.Error("the machine that Pacific made is still in vCenter")
	}
	if names := s.Names(t, namespace); len(names) > 0 {
		t.Errorf("still served: %v", names)
	}
	// What happens there goes by nobody, and brings no Namespace back.
	a.Power(adopted, supervisortest.PoweredOff)
	a.Create(namespace, "late", supervisortest.PoweredOff)
	if _, err := client.Get(t.Context(), namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Namespace is back: %v", err)
	}

	// A Namespace of its name alone does not bring it back: what claims the folder does.
	s.Kubectl(t, "create", "namespace", namespace)
	s.Kubectl(t, "annotate", "namespace", namespace, vsphere.ClaimAnnotation+"="+claim)
	s.Serves(t, namespace, "adopted", "labelled", "late")
	if got := s.Kubectl(t, "get", "vm", "-n", namespace, "-l", "kept=yes", "-o",
		"name"); strings.TrimSpace(got) != "virtualmachine.vmoperator.vmware.com/labelled" {
		t.Errorf("labels after the detour: %s", got)
	}
}

// TestNamespacesOfOthersAreNotTaken has a folder renamed to what somebody else's Namespace is called, with a person who
// has roles in the folder. The Namespace is left alone until it claims the folder, and left behind when the vSphere
// Namespace ends.
func TestNamespacesOfOthersAreNotTaken(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	const before, name = "renamed-later", "argocd"
	s.vns(t, before, v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectUser, Name: "former-tenant@vsphere.local",
		Role: v1alpha1.RoleOwner})
	a.Create(before, "web", supervisortest.PoweredOff)
	s.Serves(t, before, "web")
	s.Kubectl(t, "create", "namespace", name)
	s.Kubectl(t, "create", "secret", "generic", "-n", name, "password", "--from-literal=a=b")
	core := kubernetes.NewForConfigOrDie(s.Config(t))
	theirs, err := core.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	a.RenameFolder(before, name)
	hashed := ""
	waittest.Within(t, 30*time.Second, "the folder under a name with a hash", func(ctx context.Context) error {
		list, err := s.Dynamic(t).Resource(supervisortest.Machines).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, item := range list.Items {
			if item.GetName() == "web" && strings.HasPrefix(item.GetNamespace(), name) {
				hashed = item.GetNamespace()
			}
		}
		if hashed == "" {
			return fmt.Errorf("there are %d machines, and none of them is it", len(list.Items))
		}
		return nil
	})
	if hashed == name {
		t.Fatal("the machine is served in somebody else's Namespace")
	}
	bindings := func() int {
		list, err := core.RbacV1().RoleBindings(name).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	now, err := core.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs, now); diff != "" || bindings() != 0 {
		t.Errorf("somebody else's Namespace (-before +after):\n%s\nand %d RoleBindings in it", diff, bindings())
	}

	// It is told how to claim the folder, and does.
	message := s.Kubectl(t, "get", "vns", hashed, "-o", `jsonpath={.status.conditions[?(@.type=="Named")].message}`)
	_, command, found := strings.Cut(message, "run: kubectl ")
	if !found {
		t.Fatalf("the condition says %q", message)
	}
	s.Kubectl(t, strings.Fields(command)...)
	s.Serves(t, name, "web")
	waittest.Within(t, 30*time.Second, "the role in it", func(context.Context) error {
		if n := bindings(); n != 1 {
			return fmt.Errorf("%d RoleBindings", n)
		}
		return nil
	})
	s.Kubectl(t, "delete", "vns", name, "--timeout=60s")
	s.Kubectl(t, "get", "secret", "-n", name, "password")
	if n := bindings(); n != 0 {
		t.Errorf("%d RoleBindings are left", n)
	}
	if left := s.Kubectl(t, "get", "namespace", name, "-o", "jsonpath={.metadata.annotations}"); strings.Contains(left,
		"vmware-system") || strings.Contains(left, "pacific") {
		t.Errorf("annotations are left: %s", left)
	}
	if names := s.Names(t, name); len(names) > 0 {
		t.Errorf("still served: %v", names)
	}
}

func TestGarbageCollection(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("garbage")
	collected, kept := a.Create(namespace, "collected", supervisortest.PoweredOff),
		a.Create(namespace, "kept", supervisortest.PoweredOff)
	s.Serves(t, namespace, "collected", "kept")
	ctx := t.Context()
	configMaps := kubernetes.NewForConfigOrDie(s.Config(t)).CoreV1().ConfigMaps(namespace)
	owner, err := configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}},
		metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := s.Dynamic(t).Resource(supervisortest.Machines).Namespace(namespace)
	reference := fmt.Sprintf(`"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":%q}]`,
		owner.UID)
	for name, patch := range map[string]string{
		"collected": fmt.Sprintf(`{"metadata":{%s,"annotations":{%q:"Delete"}}}`, reference, reclaimPolicy),
		"kept":      fmt.Sprintf(`{"metadata":{%s}}`, reference),
	} {
		if _, err := c.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := configMaps.Delete(ctx, "owner", metav1.DeleteOptions{
		PropagationPolicy: ptr(metav1.DeletePropagationBackground)}); err != nil {
		t.Fatal(err)
	}
	s.Serves(t, namespace, "kept")
	if a.Properties(collected) != nil {
		t.Error("the machine of the deleted owner is still in vCenter")
	}
	if a.Properties(kept) == nil {
		t.Error("the machine that may not be destroyed is gone")
	}
}

func TestQuotaIsCounted(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("quota")
	// It looks every thirty seconds what there is to count, and counts for a quota that was there before only minutes
	// later.
	waittest.Within(t, 90*time.Second, "kube-controller-manager counts virtual machines", func(context.Context) error {
		if !strings.Contains(s.Log(t, "kube-controller-manager"), `resource="virtualmachines.vmoperator.vmware.com"`) {
			return errors.New("its log says nothing of them")
		}
		return nil
	})
	logged := len(s.Log(t, "kube-controller-manager"))
	a.Create(namespace, "one", supervisortest.PoweredOff)
	two := a.Create(namespace, "two", supervisortest.PoweredOff)
	s.Serves(t, namespace, "one", "two")
	const counted = "count/virtualmachines.vmoperator.vmware.com"
	client := kubernetes.NewForConfigOrDie(s.Config(t)).CoreV1()
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "quota"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			"count/configmaps": resource.MustParse("5"), counted: resource.MustParse("10"),
		}}}
	if _, err := client.ResourceQuotas(namespace).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	used := func(want map[corev1.ResourceName]string) {
		t.Helper()
		waittest.Within(t, 40*time.Second, "the quota", func(ctx context.Context) error {
			quota, err := client.ResourceQuotas(namespace).Get(ctx, "quota", metav1.GetOptions{})
			if err != nil {
				return err
			}
			got := map[corev1.ResourceName]string{}
			for name, quantity := range quota.Status.Used {
				got[name] = quantity.String()
			}
			if diff := cmp.Diff(want, got); diff != "" {
				return fmt.Errorf("used (-want +got):\n%s", diff)
			}
			return nil
		})
	}
	// kube-root-ca.crt is the one ConfigMap.
	used(map[corev1.ResourceName]string{"count/configmaps": "1", counted: "2"})
	a.Destroy(two)
	used(map[corev1.ResourceName]string{"count/configmaps": "1", counted: "1"})
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "another"}}
	if _, err := client.ConfigMaps(namespace).Create(t.Context(), configMap, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	used(map[corev1.ResourceName]string{"count/configmaps": "2", counted: "1"})

	// Neither controller has trouble with our group once that is served.
	for line := range strings.Lines(s.Log(t, "kube-controller-manager")[logged:]) {
		if strings.HasPrefix(line, "E") && (strings.Contains(line, "vmoperator") ||
			strings.Contains(line, "timed out waiting")) {
			t.Errorf("kube-controller-manager: %s", line)
		}
	}
}
