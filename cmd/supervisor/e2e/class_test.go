// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestVirtualMachineClasses gives classes to a vSphere Namespace, has an administrator and an editor do with them what
// they like, and deletes the namespace with all its classes.
func TestVirtualMachineClasses(t *testing.T) {
	t.Parallel()
	s := running(t)
	const name = "classes-shop"
	s.vns(t, name, v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectUser, Name: "dev-a@vsphere.local",
		Role: v1alpha1.RoleEdit},
		v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectUser, Name: "owner-b@vsphere.local", Role: v1alpha1.RoleOwner},
		v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectUser, Name: "viewer@vsphere.local", Role: v1alpha1.RoleView})
	give := func(classes ...string) {
		t.Helper()
		s.Kubectl(t, "patch", "vns", name, "--type=merge", "-p",
			`{"spec":{"virtualMachineClasses":["`+strings.Join(classes, `","`)+`"]}}`)
	}
	until := func(what, want string) {
		t.Helper()
		waittest.Within(t, 30*time.Second, what, func(context.Context) error {
			out, err := s.Try(t.Context(), "kubectl", "get", "vmclass", "-n", name, "--no-headers", "-o",
				"custom-columns=N:.metadata.name,C:.spec.hardware.cpus")
			if got := strings.Join(strings.Fields(out), " "); err == nil && got != want {
				err = fmt.Errorf("there are %q, want %q", got, want)
			}
			return err
		})
	}
	give("best-effort-small", "their-own")
	until("the Supervisor's own class is made", "best-effort-small 2")

	file := filepath.Join(t.TempDir(), "class.yaml")
	for _, version := range []string{"v1alpha1", "v1alpha5"} {
		manifest := "apiVersion: vmoperator.vmware.com/" + version +
			"\nkind: VirtualMachineClass\nmetadata: {name: their-own, namespace: " + name + "}\n" +
			"spec: {hardware: {cpus: 6, memory: 12Gi}, policies: {resources: {requests: {cpu: 2, memory: 4Gi}}}, configSpec: " +
			"{_typeName: VirtualMachineConfigSpec, numCPUs: 6}}\n"
		if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Kubectl(t, "apply", "-f", file)
		s.Kubectl(t, "apply", "--server-side", "--force-conflicts", "-f", file)
	}
	s.Kubectl(t, "patch", "vmclass", "best-effort-small", "-n", name, "--type=merge", "-p",
		`{"spec":{"hardware":{"cpus":3}}}`)
	give("best-effort-small", "their-own", "guaranteed-xsmall")
	until("what an administrator changed stays, and another is made",
		"best-effort-small 3 guaranteed-xsmall 2 their-own 6")

	for who, want := range map[string]struct{ reads, writes bool }{
		"dev-a": {reads: true}, "owner-b": {reads: true}, "viewer": {}, "nobody": {},
	} {
		p := s.Person(t, who+"@vsphere.local")
		if out, err := p.Login(t, vcentertest.SamplePassword); err != nil {
			t.Fatalf("login: %v\n%s", err, out)
		}
		if out, err := p.Types(t, "", "get", "vmclass", "-n", name); (err == nil) != want.reads || want.reads &&
			!strings.Contains(out, "guaranteed-xsmall") {
			t.Errorf("%s reads: %v\n%s", who, err, out)
		}
		for _, verb := range [][]string{
			{"patch", "vmclass", "best-effort-small", "-n", name, "--type=merge", "-p", `{"spec":{"hardware":{"cpus":64}}}`},
			{"delete", "vmclass", "best-effort-small", "-n", name},
		} {
			if out, err := p.Types(t, "", verb...); (err == nil) != want.writes {
				t.Errorf("%s writes: %v\n%s", who, err, out)
			}
		}
	}

	s.Kubectl(t, "delete", "vns", name, "--wait=false")
	waittest.Within(t, time.Minute, "the Namespace is gone, and its classes with it", func(context.Context) error {
		if _, err := s.Try(t.Context(), "kubectl", "get", "namespace", name); err == nil {
			return fmt.Errorf("the Namespace is there")
		}
		out, err := s.Try(t.Context(), "kubectl", "get", "vmclass", "-n", name, "-o", "name")
		if err == nil && strings.Contains(out, "virtualmachineclass") {
			err = fmt.Errorf("left: %s", out)
		}
		return err
	})
}
