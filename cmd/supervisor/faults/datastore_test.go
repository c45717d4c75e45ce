// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/openpacific/pacific/pkg/waittest"
)

// TestMachinesStayWithoutTheirDatastore: a Supervisor starts while vCenter tells nothing of the configuration of any
// machine. None is taken for gone, by those who watch or by the garbage collector, and nothing is done to any.
func TestMachinesStayWithoutTheirDatastore(t *testing.T) {
	f := newFaulty(t, "datastore")
	f.up(t)
	running := true
	t.Cleanup(func() {
		if running {
			f.down(t)
		}
	})
	f.ready(t)
	f.Serves(t, "team-a", "db-1", "web-1")
	f.Kubectl(t, "label", "vm", "-n", "team-a", "web-1", "app=web")
	const who = "jsonpath={.metadata.uid} {.metadata.creationTimestamp}"
	shown := []string{"get", "vm", "-n", "team-a", "web-1", "-o", who}
	before := f.Kubectl(t, shown...)
	uid, _, _ := strings.Cut(before, " ")
	f.owned(t, "kept", "web-1", types.UID(uid))
	etcd := f.Etcd(t, "vsphere-apiserver-etcd-client")
	waittest.Within(t, 30*time.Second, "it to be written down which machine is which", func(ctx context.Context) error {
		documents, err := etcd.Get(ctx, "/pacific/identities/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil && documents.Count < 2 {
			err = fmt.Errorf("%d documents", documents.Count)
		}
		return err
	})

	running = false
	f.down(t)
	if err := f.vcenter.LoseDatastore("datastore-1"); err != nil {
		t.Fatal(err)
	}
	f.Output.Reset()
	f.up(t)
	running = true
	f.ready(t)
	f.Serves(t, "team-a", "db-1", "web-1")
	events := f.Watch(t, "team-a")
	if after := f.Kubectl(t, shown...); after != before {
		t.Errorf("uid and creation are %s, and were %s", after, before)
	}
	f.Kubectl(t, "wait", "vm", "-n", "team-a", "web-1", "--for=condition=ConfigurationReadable=false", "--timeout=5s")
	calls := acting(f.vcenter)
	for method, body := range map[string]string{
		http.MethodPatch: `{"metadata":{"labels":{"app":"db"}}}`, http.MethodDelete: "",
	} {
		answer := refused(t, f.Supervisor, method, "team-a", "web-1", body)
		if !strings.Contains(answer, "vCenter cannot read the virtual machine's configuration") {
			t.Errorf("%s: %s", method, answer)
		}
	}
	// That the garbage collector is at work shows on what is owned by a machine that never was.
	f.owned(t, "orphan", "never", "5037a9f4-3d0e-4a3c-8d0a-0e4c9a6f0f11")
	client := kubernetes.NewForConfigOrDie(f.Config(t)).CoreV1().ConfigMaps("team-a")
	waittest.Within(t, 2*time.Minute, "what nobody owns to be collected", func(ctx context.Context) error {
		_, err := client.Get(ctx, "orphan", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there, or nobody says so: %v", err)
	})
	if _, err := client.Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("what a machine owns: %v", err)
	}
	if now := acting(f.vcenter); fmt.Sprint(now) != fmt.Sprint(calls) {
		t.Errorf("something was done in vCenter: %v, before %v", now, calls)
	}

	if err := f.vcenter.FindDatastore("datastore-1"); err != nil {
		t.Fatal(err)
	}
	// Until takes modifications alone.
	labelled := func(vm *vmopv1.VirtualMachine) bool { return vm.Labels["app"] == "web" }
	found := events.Until(watch.Modified, "web-1", labelled)
	if meta.FindStatusCondition(found.Status.Conditions, "ConfigurationReadable") != nil || string(found.UID) != uid {
		t.Errorf("once the datastore is back: %+v", found)
	}
	if after := f.Kubectl(t, shown...); after != before {
		t.Errorf("once the datastore is back uid and creation are %s, and were %s", after, before)
	}
	f.Kubectl(t, "label", "vm", "-n", "team-a", "web-1", "app=db", "--overwrite")
}

// owned makes a ConfigMap of team-a that a machine owns.
func (f *faulty) owned(t *testing.T, name, owner string, uid types.UID) {
	t.Helper()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{
		{APIVersion: vmopv1.GroupVersion.String(), Kind: "VirtualMachine", Name: owner, UID: uid},
	}}}
	client := kubernetes.NewForConfigOrDie(f.Config(t)).CoreV1().ConfigMaps("team-a")
	if _, err := client.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
