// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestVCenterFaults breaks vCenter in every way, one after the other, under one Supervisor.
func TestVCenterFaults(t *testing.T) {
	f := newFaulty(t, "vcenter-faults")
	f.vcenter.Stop()
	f.up(t)
	defer f.down(t)

	t.Run("down at start", func(t *testing.T) {
		waittest.Within(t, time.Minute, "vsphere-apiserver", func(context.Context) error {
			status, body, err := f.Probe(t, "/livez")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("/livez: %d %s", status, body)
			}
			return err
		})
		f.Unready(t, "/readyz/vcenter", f.vcenter.Addr(), "connection refused")
		f.Unready(t, "/readyz/inventory", "has not been read yet")
		f.Unready(t, "/readyz")
		waittest.Within(t, 30*time.Second, "word of it to the user", func(context.Context) error {
			if out := f.Output.String(); !strings.Contains(out, "waiting for vsphere-apiserver: not ready: ") ||
				!strings.Contains(out, "connection refused") {
				return fmt.Errorf("`supervisor up` says\n%s", out)
			}
			return nil
		})
		if strings.Contains(f.Output.String(), "Ready in") {
			t.Error("the Supervisor says that it is ready")
		}
		began := time.Now()
		if err := f.vcenter.Restart(); err != nil {
			t.Fatal(err)
		}
		f.ready(t)
		fmt.Printf("vCenter down at start: ready %.1f s after its return\n", time.Since(began).Seconds())
		if got := f.Kubectl(t, "get", "vm", "-A", "-o", "name"); strings.Count(got, "\n") != 3 {
			t.Errorf("kubectl get vm -A: %s", got)
		}
	})

	t.Run("killed under watchers", func(t *testing.T) {
		a := f.Admin(t)
		namespace := a.Namespace("killed")
		vm := a.Create(namespace, "changed", supervisortest.PoweredOn)
		doomed := a.Create(namespace, "doomed", supervisortest.PoweredOff)
		a.Create(namespace, "untouched", supervisortest.PoweredOn)
		f.Serves(t, namespace, "changed", "doomed", "untouched")
		if response, body := f.PatchOnce(t, namespace, "untouched", "a", "b"); response.StatusCode != http.StatusOK {
			t.Fatalf("patch: %s %s", response.Status, body)
		}
		followers := make([]*supervisortest.Follower, 5)
		for i := range followers {
			followers[i] = f.Follow(t, namespace)
		}

		f.vcenter.Stop()
		f.Unready(t, "/readyz/vcenter", f.vcenter.Addr())
		f.Serves(t, namespace, "changed", "doomed", "untouched")
		response, body := f.PatchOnce(t, namespace, "untouched", "written", "while-away")
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" ||
			!strings.Contains(body, "vCenter") {
			t.Errorf("patch while vCenter is away: %s, Retry-After %q, %s", response.Status, response.Header.Get("Retry-After"),
				body)
		}

		began := time.Now()
		if err := f.vcenter.Restart(); err != nil {
			t.Fatal(err)
		}
		// These changes race with the server's own return to vCenter.
		a = f.Admin(t)
		a.Power(vm, supervisortest.PoweredOff)
		a.Destroy(doomed)
		a.Create(namespace, "new", supervisortest.PoweredOff)
		want := map[string]string{"changed": "PoweredOff", "new": "PoweredOff", "untouched": "PoweredOn"}
		for _, follower := range followers {
			follower.Until("after the restart", func(objects map[string]*unstructured.Unstructured) bool {
				return cmp.Equal(want, supervisortest.Power(objects))
			})
		}
		fmt.Printf("vCenter killed: its changes are at the watchers %.1f s after its return\n", time.Since(began).Seconds())
		f.Passes(t, "/readyz")
		if response, body := f.PatchOnce(t, namespace, "untouched", "written",
			"after"); response.StatusCode != http.StatusOK {
			t.Errorf("patch after vCenter's return: %s %s", response.Status, body)
		}
		for _, follower := range followers {
			follower.Until("the label", func(objects map[string]*unstructured.Unstructured) bool {
				return objects["untouched"].GetLabels()["written"] == "after"
			})
			follower.Agrees()
		}
	})

	t.Run("session terminated", func(t *testing.T) {
		a := f.Admin(t)
		namespace := a.Namespace("terminated")
		vm := a.Create(namespace, "web", supervisortest.PoweredOff)
		f.Serves(t, namespace, "web")
		follower := f.Follow(t, namespace)
		f.vcenter.ResetLogins()
		f.vcenter.TerminateSessions()
		began := time.Now()
		// A write right now waits for the new login. Where the end of the inventory's stream is noticed first, it is told to
		// come again, as long as nobody knows whether what is shown is so.
		waittest.Within(t, 10*time.Second, "a write after the session's end", func(context.Context) error {
			response, body := f.PatchOnce(t, namespace, "web", "after", "termination")
			if response.StatusCode == http.StatusOK {
				return nil
			}
			if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
				t.Fatalf("patch after the session's end: %s %s", response.Status, body)
			}
			return fmt.Errorf("%s %s", response.Status, body)
		})
		a = f.Admin(t)
		a.Power(vm, supervisortest.PoweredOn)
		follower.Until("power on", func(objects map[string]*unstructured.Unstructured) bool {
			return supervisortest.Power(objects)["web"] == "PoweredOn"
		})
		fmt.Printf("session terminated: a write and a change in vCenter done after %.2f s\n", time.Since(began).Seconds())
		follower.Agrees()
		if logins := f.vcenter.Logins(); logins.Accepted > 3 || logins.Refused > 0 {
			t.Errorf("logins: %+v", logins)
		}
	})

	t.Run("wrong password", func(t *testing.T) { wrongPassword(t, f) })
}

func wrongPassword(t *testing.T, f *faulty) {
	a := f.Admin(t)
	namespace := a.Namespace("password")
	a.Create(namespace, "web", supervisortest.PoweredOff)
	f.Serves(t, namespace, "web")
	const wrong = "an-entirely-wrong-one"
	f.password(t, wrong)
	f.vcenter.ResetLogins()
	f.vcenter.TerminateSessions()
	f.Unready(t, "/readyz/vcenter", "refused the user name or password in "+f.credentials)

	// Nothing that anybody asks makes the server try again.
	for i := range 20 {
		f.Serves(t, namespace, "web")
		response, body := f.PatchOnce(t, namespace, "web", "try", fmt.Sprint(i))
		if response.StatusCode != http.StatusServiceUnavailable ||
			!strings.Contains(body, "refused the user name or password") {
			t.Fatalf("patch: %s %s", response.Status, body)
		}
	}
	if logins := f.vcenter.Logins(); logins != (vcentertest.LoginCount{Refused: 1}) {
		t.Errorf("logins with the wrong password: %+v", logins)
	}
	// Not even a new process tries more than once.
	pid := f.Component(t, "vsphere-apiserver").PID
	f.Kill(t, "vsphere-apiserver")
	waittest.Within(t, 20*time.Second, "the next vsphere-apiserver", func(context.Context) error {
		if now := f.Component(t, "vsphere-apiserver").PID; now == pid || now == 0 {
			return fmt.Errorf("pid %d", now)
		}
		return nil
	})
	f.Unready(t, "/readyz/vcenter", "refused the user name or password")
	if logins := f.vcenter.Logins(); logins != (vcentertest.LoginCount{Refused: 2}) {
		t.Errorf("logins with the wrong password after a restart: %+v", logins)
	}
	if log := f.Log(t, "vsphere-apiserver"); !strings.Contains(log, "refused the user name or password") {
		t.Error("the log says nothing of the password")
	}

	began := time.Now()
	f.password(t, f.vcenter.Password())
	f.Passes(t, "/readyz")
	fmt.Printf("wrong password: ready %.1f s after the file was corrected\n", time.Since(began).Seconds())
	waittest.Within(t, 20*time.Second, "kubectl", func(ctx context.Context) error {
		_, err := f.Try(ctx, "kubectl", "label", "vm", "-n", namespace, "web", "healed=yes", "--overwrite")
		return err
	})
	if logins := f.vcenter.Logins(); logins.Refused != 2 {
		t.Errorf("logins: %+v", logins)
	}
	entries, err := os.ReadDir(f.Dir.Logs())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		log := f.Log(t, strings.TrimSuffix(entry.Name(), ".log"))
		if strings.Contains(log, wrong) || strings.Contains(log, f.vcenter.Password()) {
			t.Errorf("%s holds a password", entry.Name())
		}
	}
}
