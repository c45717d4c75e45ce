// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestPeopleLogIn logs everybody of the simulated vCenter in and holds what they
// may do to their roles.
func TestPeopleLogIn(t *testing.T) {
	t.Parallel()
	s := running(t)
	read, write := []string{"get", "list", "watch"}, []string{"get", "list", "watch", "patch", "delete"}
	for name, want := range map[string]struct {
		password string
		contexts []string
		can      map[string][]string
	}{
		"administrator": {s.AdministratorPassword(t), []string{"team-a", "team-b"},
			map[string][]string{"team-a": write, "team-b": write}},
		"dev-a":   {vcentertest.SamplePassword, []string{"team-a"}, map[string][]string{"team-a": write, "team-b": {}}},
		"viewer":  {vcentertest.SamplePassword, []string{"team-a"}, map[string][]string{"team-a": read, "team-b": {}}},
		"owner-b": {vcentertest.SamplePassword, []string{"team-b"}, map[string][]string{"team-a": {}, "team-b": write}},
		"nobody":  {vcentertest.SamplePassword, nil, map[string][]string{"team-a": {}, "team-b": {}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.Person(t, name+"@vsphere.local")
			out, err := p.Login(t, want.password)
			if err != nil {
				t.Fatalf("login: %v\n%s", err, out)
			}
			if strings.Contains(out, want.password) {
				t.Error("the login prints the password")
			}
			config, err := os.ReadFile(p.Kubeconfig)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(config), want.password) {
				t.Error("the kubeconfig holds the password")
			}
			contexts, err := p.Types(t, "", "config", "get-contexts", "-o", "name")
			if err != nil {
				t.Fatal(err)
			}
			for _, namespace := range []string{"team-a", "team-b"} {
				wanted, got := false, strings.Contains("\n"+contexts, "\n"+namespace+"\n")
				for _, context := range want.contexts {
					wanted = wanted || context == namespace
				}
				if got != wanted {
					t.Errorf("a context for %s: %t, want %t; contexts:\n%s", namespace, got, wanted, contexts)
				}
			}
			got := map[string][]string{"team-a": p.Can(t, "team-a"), "team-b": p.Can(t, "team-b")}
			if diff := cmp.Diff(want.can, got); diff != "" {
				t.Errorf("rights (-want +got):\n%s", diff)
			}
			if len(want.contexts) == 0 {
				if out, err := p.Types(t, "", "get", "vm", "-n", "team-a"); err == nil {
					t.Errorf("somebody without rights reads machines:\n%s", out)
				}
				return
			}
			if out, err := p.Types(t, "", "--context", want.contexts[0], "get", "vm"); err != nil ||
				!strings.Contains(out, "POWER-STATE") {
				t.Errorf("get vm in the context of a namespace: %v\n%s", err, out)
			}
			if out, err := p.Types(t, "", "vsphere", "logout"); err != nil {
				t.Errorf("logout: %v\n%s", err, out)
			}
			if left, err := os.ReadFile(p.Kubeconfig); err != nil || strings.Contains(string(left), "token") {
				t.Errorf("after the logout the kubeconfig is (%v):\n%s", err, left)
			}
		})
	}
}

// TestARoleCountsAtOnce changes a role under a token that was handed out before.
func TestARoleCountsAtOnce(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("roles")
	p := s.Person(t, "nobody@vsphere.local")
	if out, err := p.Login(t, vcentertest.SamplePassword); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	if got := p.Can(t, namespace); len(got) > 0 {
		t.Errorf("before the role: %v", got)
	}
	s.Kubectl(t, "create", "rolebinding", "now-a-viewer", "-n", namespace, "--clusterrole=view",
		"--user=sso:nobody@vsphere.local")
	waittest.Within(t, 30*time.Second, "the new role to count", func(context.Context) error {
		if out, err := p.Types(t, "", "get", "vm", "-n", namespace); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	s.Kubectl(t, "delete", "rolebinding", "now-a-viewer", "-n", namespace)
	waittest.Within(t, 30*time.Second, "the withdrawn role to count", func(context.Context) error {
		if out, err := p.Types(t, "", "get", "vm", "-n", namespace); err == nil {
			return fmt.Errorf("it still reads:\n%s", out)
		}
		return nil
	})
}

// TestAWrongPasswordIsRefused also looks for the password in every log.
func TestAWrongPasswordIsRefused(t *testing.T) {
	t.Parallel()
	s := running(t)
	p := s.Person(t, "somebody@vsphere.local")
	const password = "canary-9f1c7e"
	out, err := p.Login(t, password)
	if err == nil || !strings.Contains(out, "invalid or missing credentials") || !strings.Contains(out, "hint: ") {
		t.Errorf("login with a wrong password: %v\n%s", err, out)
	}
	if _, err := os.Stat(p.Kubeconfig); !os.IsNotExist(err) {
		t.Errorf("a refused login wrote a kubeconfig: %v", err)
	}
	for _, component := range []string{"vsphere-apiserver", "kube-apiserver", "vcenter"} {
		if strings.Contains(s.Log(t, component), password) {
			t.Errorf("the password is in the log of %s", component)
		}
	}
	if log := s.Log(t, "vsphere-apiserver"); !strings.Contains(log, "somebody@vsphere.local") {
		t.Error("no line in the log tells of the attempt")
	}
}
