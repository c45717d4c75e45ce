// SPDX-License-Identifier: Apache-2.0

package vcenter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"k8s.io/component-base/metrics"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

func listLibraries(ctx context.Context, client *rest.Client) error {
	_, err := library.NewManager(client).ListLibraries(ctx)
	return err
}

func TestRESTSessionLogsInAndOut(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	config := configFor(t, v)
	registry := metrics.NewKubeRegistry()
	config.Metrics = vcenter.NewMetrics(registry.MustRegister)
	r := &vcenter.RESTSession{Session: run(t, config)}
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			if err := r.Do(t.Context(), "list", listLibraries); err != nil {
				t.Errorf("Do() = %v", err)
			}
		})
	}
	running.Wait()
	if n := v.RESTSessions(); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	err := r.Do(t.Context(), "look", func(ctx context.Context, client *rest.Client) error {
		_, err := library.NewManager(client).GetLibraryByID(ctx, "no-such")
		return fmt.Errorf("library: %w", vcenter.Translate(err))
	})
	if !errors.Is(err, failure.NotFound) || err.Error() != "look: library: it does not exist in vCenter (any more)" {
		t.Errorf("a library that is not there: %v", err)
	}
	r.Logout(t.Context())
	if n := v.RESTSessions(); n != 0 {
		t.Errorf("%d logins after the logout", n)
	}

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var methods []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "method" && strings.Contains(label.GetValue(), " ") {
					methods = append(methods, family.GetName()+" "+label.GetValue())
				}
			}
		}
	}
	slices.Sort(methods)
	want := []string{
		"pacific_vcenter_call_faults_total GET /rest/com/vmware/content/library",
		"pacific_vcenter_calls_seconds DELETE /rest/com/vmware/cis/session",
		"pacific_vcenter_calls_seconds GET /rest/com/vmware/content/library",
		"pacific_vcenter_calls_seconds POST /rest/com/vmware/cis/session",
	}
	if diff := cmp.Diff(want, methods); diff != "" {
		t.Errorf("measured (-want +got):\n%s", diff)
	}
}

func TestRESTSessionLogsInAgain(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	s := run(t, configFor(t, v))
	r := &vcenter.RESTSession{Session: s}
	do := func() error { return r.Do(t.Context(), "list", listLibraries) }
	if err := do(); err != nil {
		t.Fatal(err)
	}
	v.TerminateRESTSessions()
	if err := do(); err != nil {
		t.Errorf("after the end of the session: %v", err)
	}
	v.RefuseREST(http.StatusServiceUnavailable)
	if err := do(); !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), "503") {
		t.Errorf("with endpoints that start: %v", err)
	}
	v.RefuseREST(http.StatusForbidden)
	if err := do(); !errors.Is(err, failure.Forbidden) || !strings.Contains(err.Error(), "global permission") {
		t.Errorf("without the privilege: %v", err)
	}
	v.RefuseREST(0)

	v.Stop()
	if err := do(); !errors.Is(err, failure.Unavailable) {
		t.Errorf("with vCenter away: %v", err)
	}
	waittest.Eventually(t, "the session knows that vCenter is away", func() bool { return s.Err() != nil })
	if err := v.Restart(); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "a login after the restart", func() bool { return do() == nil })
	if n := v.RESTSessions(); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

// A login goes to nobody but the vCenter that it was made at, wherever that points.
func TestRESTSessionGoesNowhereElse(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	r := &vcenter.RESTSession{Session: run(t, configFor(t, v))}
	asked := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer elsewhere.Close()
	err := r.Do(t.Context(), "download", func(ctx context.Context, client *rest.Client) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, elsewhere.URL+"/data/x.ovf", nil)
		if err != nil {
			return err
		}
		response, err := client.Client.Client.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		return err
	})
	if !errors.Is(err, failure.Unavailable) || asked {
		t.Errorf("%v, asked: %t", err, asked)
	}
}

// The REST endpoints are never asked about a password that vCenter has not just
// accepted, and one that they refuse all the same is not tried again soon.
func TestRESTSessionAndRefusedPasswords(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	config := configFor(t, v)
	log := &waittest.Output{}
	config.Logger = log.Logger()
	config.CredentialsFile = t.TempDir() + "/credentials.yaml"
	const user = "dev-a@vsphere.local"
	writeCredentials(t, config.CredentialsFile, user, vcentertest.SamplePassword)
	s := run(t, config)
	r := &vcenter.RESTSession{Session: s}
	do := func() error { return r.Do(t.Context(), "list", listLibraries) }
	if err := do(); err != nil {
		t.Fatal(err)
	}

	// Somebody changes the password; the logins go on until they end.
	const changed = "n3w-p4ssword"
	if err := v.Directory().SetPassword(user, changed); err != nil {
		t.Fatal(err)
	}
	v.ResetLogins()
	v.TerminateRESTSessions()
	var said []string
	for range 20 {
		err := do()
		if !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), "refused the user name or password") {
			t.Fatalf("with a password that is no more: %v", err)
		}
		said = append(said, err.Error())
	}
	if diff := cmp.Diff(vcentertest.LoginCount{Refused: 1}, v.Logins()); diff != "" {
		t.Errorf("logins (-want +got):\n%s", diff)
	}
	if v.Directory().Locked(user) {
		t.Error("the account was locked")
	}

	// A wrong password in the file is the session's to find out.
	v.ResetLogins()
	writeCredentials(t, config.CredentialsFile, user, wrongPassword)
	for range 20 {
		err := do()
		if !errors.Is(err, failure.Unavailable) {
			t.Fatalf("with a wrong password: %v", err)
		}
		said = append(said, err.Error())
	}
	if n := v.Logins().Refused; n > 1 {
		t.Errorf("%d refused logins", n)
	}

	writeCredentials(t, config.CredentialsFile, user, changed)
	waittest.Eventually(t, "a login with the new password", func() bool { return do() == nil })
	for _, secret := range []string{vcentertest.SamplePassword, changed, wrongPassword} {
		if text := strings.Join(said, "\n") + log.String(); strings.Contains(text, secret) {
			t.Errorf("%q leaks:\n%s", secret, text)
		}
	}
}

// A password goes only to the vCenter that is the configured one.
func TestRESTSessionVerifies(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	config := configFor(t, v)
	config.CAFile, config.Thumbprint = "", v.Thumbprint()
	s := run(t, config)
	r := &vcenter.RESTSession{Session: s}
	if err := r.Do(t.Context(), "list", listLibraries); err != nil {
		t.Fatalf("with a thumbprint: %v", err)
	}
	r.Logout(t.Context())

	addr := v.Addr()
	v.Close()
	impostor := vcentertest.Run(t, vcentertest.Options{Inventory: empty, Addr: addr})
	if impostor.Thumbprint() == v.Thumbprint() {
		t.Fatal("the impostor is none")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := r.Do(ctx, "list", listLibraries); !errors.Is(err, failure.Unavailable) {
		t.Errorf("with an impostor: %v", err)
	}
	if diff := cmp.Diff(vcentertest.LoginCount{}, impostor.Logins()); diff != "" {
		t.Errorf("the impostor was told a password (-want +got):\n%s", diff)
	}
}

// TestRESTGoesNowhereElse: what a request to vCenter carries is for vCenter alone, whatever an answer points to.
func TestRESTGoesNowhereElse(t *testing.T) {
	var told atomic.Int32
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { told.Add(1) }))
	defer plain.Close()
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	r := &vcenter.RESTSession{Session: run(t, configFor(t, v))}
	err := r.Do(t.Context(), "ask", func(ctx context.Context, client *rest.Client) error {
		for _, address := range []string{plain.URL, "http://" + client.URL().Host, "https://vcenter.example.com"} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/cls/data/x/y.ovf", nil)
			if err != nil {
				return err
			}
			err = client.Do(ctx, request, nil)
			if !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), "vCenter points to "+address) {
				t.Errorf("%s: %v", address, err)
			}
		}
		if client.Client.Client.CheckRedirect(nil, nil) != http.ErrUseLastResponse {
			t.Error("redirections are followed")
		}
		return nil
	})
	if err != nil || told.Load() > 0 {
		t.Errorf("Do() = %v; another server was told %d requests", err, told.Load())
	}
}
