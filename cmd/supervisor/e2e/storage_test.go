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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// claim is what a developer applies to get a disk.
func claim(name, class, size string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
		},
	}
}

// TestStoragePolicy gives a storage policy to a vSphere Namespace, uses it as a
// developer does, and takes it away.
func TestStoragePolicy(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	if err := a.Builder.StoragePolicy(t.Context(), "Silver Storage", "for the test of storage"); err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(s.Config(t))
	const ns, other = "storage-given", "storage-other"
	a.Namespace(ns)
	a.Namespace(other)
	if _, err := a.Builder.VirtualMachine(t.Context(), vcentertest.VM{
		Name: "disks", Folder: supervisortest.InNamespaces(ns), Cluster: a.Cluster, GuestID: "ubuntu64Guest", CPUs: 1,
		MemoryMB: 1024,
		DisksGB:  []int64{1}, StoragePolicy: "Silver Storage", DiskPolicies: []string{"Silver Storage"},
	}); err != nil {
		t.Fatal(err)
	}
	give := func(policies string) error {
		_, err := s.Try(t.Context(), "kubectl", "patch", "vns", ns, "--type=merge", "-p",
			`{"spec":{"storagePolicies":`+policies+`}}`)
		return err
	}
	if err := give(`[{"name":"Lead Storage"}]`); err == nil ||
		!strings.Contains(err.Error(), `there is no storage policy "Lead Storage"; there are: `) {
		t.Errorf("a policy that is not there: %v", err)
	}
	took := waittest.Within(t, time.Minute, "the new storage policy to be known", func(context.Context) error {
		return give(`[{"name":"Silver Storage","limit":"1Gi"}]`)
	})
	fmt.Printf("a new storage policy can be given after %.1f s\n", took.Seconds())

	// usage and quota, in Kubernetes.
	const entry = corev1.ResourceName("silver-storage.storageclass.storage.k8s.io/requests.storage")
	counts := func(namespace string) string {
		quota, err := client.CoreV1().ResourceQuotas(namespace).Get(t.Context(), namespace+"-storagequota",
			metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if hard, found := quota.Status.Hard[entry]; found {
			return hard.String()
		}
		return "nothing"
	}
	count := func(what, given, otherwise string) {
		t.Helper()
		waittest.Within(t, time.Minute, what, func(context.Context) error {
			if diff := cmp.Diff([]string{given, otherwise}, []string{counts(ns), counts(other)}); diff != "" {
				return fmt.Errorf("quotas (-want +got):\n%s", diff)
			}
			return nil
		})
	}
	waittest.Within(t, time.Minute, "usage by policy", func(context.Context) error {
		out := s.Kubectl(t, "get", "vns", ns, "-o", "yaml")
		if !strings.Contains(out, "policy: Silver Storage\n      used: 64Mi") {
			return fmt.Errorf("it shows\n%s", out)
		}
		return nil
	})
	if out := s.Kubectl(t, "get", "vns", ns, "-o", "wide"); !strings.Contains(out, "64Mi/1Gi") {
		t.Errorf("get -o wide shows\n%s", out)
	}
	count("the quotas", "960Mi", "0") // the limit without 64Mi
	waittest.Within(t, 30*time.Second, "the StorageClass", func(ctx context.Context) error {
		class, err := client.StorageV1().StorageClasses().Get(ctx, "silver-storage", metav1.GetOptions{})
		if err == nil && (class.Provisioner != "csi.vsphere.vmware.com" || class.Parameters["storagePolicyID"] == "") {
			t.Errorf("the StorageClass: %+v", class)
		}
		return err
	})

	claims := func(namespace, name, size string) error {
		_, err := client.CoreV1().PersistentVolumeClaims(namespace).Create(t.Context(), claim(name, "silver-storage", size),
			metav1.CreateOptions{})
		return err
	}
	refused := func(what string, err error) {
		t.Helper()
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota: ") ||
			!strings.Contains(err.Error(), string(entry)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("a claim above the limit", claims(ns, "large", "1Gi"))
	refused("a claim of a class that the namespace was not given", claims(other, "small", "1Mi"))
	if err := claims(ns, "small", "512Mi"); err != nil {
		t.Errorf("a claim below the limit: %v", err)
	}
	refused("a claim above what is left", claims(ns, "rest", "512Mi"))

	// What somebody does by hand is put right.
	s.Kubectl(t, "delete", "quota", "-n", ns, ns+"-storagequota")
	s.Kubectl(t, "patch", "quota", "-n", other, other+"-storagequota", "--type=merge", "-p",
		`{"spec":{"hard":{"`+string(entry)+`":"1Ti"}}}`)
	count("the quotas again", "960Mi", "0")
	s.Kubectl(t, "delete", "storageclass", "silver-storage")
	waittest.Within(t, 30*time.Second, "the StorageClass again", func(ctx context.Context) error {
		_, err := client.StorageV1().StorageClasses().Get(ctx, "silver-storage", metav1.GetOptions{})
		return err
	})

	if err := give(`[{"name":"Silver Storage"}]`); err != nil {
		t.Fatal(err)
	}
	count("without a limit", "9223372036854775807", "0")
	if err := give(`null`); err != nil {
		t.Fatal(err)
	}
	waittest.Within(t, 30*time.Second, "the end of the StorageClass", func(ctx context.Context) error {
		class, err := client.StorageV1().StorageClasses().Get(ctx, "silver-storage", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		return fmt.Errorf("it is there: %v", class.Parameters)
	})
	count("taken away", "nothing", "nothing")
}
