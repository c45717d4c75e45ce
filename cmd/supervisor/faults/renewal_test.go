// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	certutil "k8s.io/client-go/util/cert"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/cmd/supervisor/process"
	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// certificatesOf are the serial numbers of the Supervisor's certificates by name, without the authorities.
func certificatesOf(t *testing.T, s *supervisortest.Supervisor) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir.PKI(), "*.crt"))
	if err != nil {
		t.Fatal(err)
	}
	serials := map[string]string{}
	for _, file := range files {
		certificates, err := certutil.CertsFromFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !certificates[0].IsCA {
			serials[strings.TrimSuffix(filepath.Base(file), ".crt")] = certificates[0].SerialNumber.String()
		}
	}
	return serials
}

// renewing is a Supervisor whose certificates do not live long, and those who use it meanwhile.
type renewing struct {
	*supervisortest.Supervisor
	admin, developer watch.Interface // opened at the start, and never again
	person           *supervisortest.Person
	last             map[string]string // serial numbers
	changes          map[string]int
}

// follow opens a watch that must last.
func (r *renewing) follow(t *testing.T, config *rest.Config) watch.Interface {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Timeout = 0
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w, err := client.Resource(supervisortest.Machines).Namespace("team-a").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// arrives waits for a machine with the label at a watch.
func (r *renewing) arrives(t *testing.T, w watch.Interface, round string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case event, open := <-w.ResultChan():
			if !open || event.Type == watch.Error {
				t.Fatalf("round %s: a watch ended with %v", round, event.Object)
			}
			if object, ok := event.Object.(metav1.Object); ok && object.GetLabels()["round"] == round {
				return
			}
		case <-deadline:
			t.Fatalf("round %s: a watch is silent", round)
		}
	}
}

// round uses everything that shows a certificate to something else.
func (r *renewing) round(t *testing.T, round string) {
	t.Helper()
	r.Kubectl(t, "label", "--overwrite", "virtualmachine", "web-1", "-n", "team-a", "round="+round)
	r.arrives(t, r.admin, round)
	r.arrives(t, r.developer, round)
	if out, err := r.person.Types(t, "", "get", "vm", "-n", "team-a"); err != nil {
		t.Fatalf("round %s: %v\n%s", round, err, out)
	}
	// A Namespace has its ServiceAccount by kube-controller-manager, and its role from vsphere-apiserver's reviews.
	name := "round-" + round
	r.Kubectl(t, "create", "namespace", name)
	client := kubernetes.NewForConfigOrDie(r.Config(t))
	waittest.Within(t, time.Minute, "the ServiceAccount of "+name, func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	r.Kubectl(t, "delete", "namespace", name, "--wait=false")
	for name, serial := range certificatesOf(t, r.Supervisor) {
		if r.last[name] != serial {
			r.changes[name]++
		}
		r.last[name] = serial
	}
}

// least is how often the certificate changed that did so least.
func (r *renewing) least() int {
	least := -1
	for name := range r.last {
		if n := r.changes[name]; least < 0 || n < least {
			least = n
		}
	}
	return least
}

// duration is what a variable of the environment says.
func duration(t *testing.T, name string, otherwise time.Duration) time.Duration {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		return otherwise
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// changes is how often each certificate changes. With the third one those that the first connections were made with
// have ended for long.
const changes = 3

// TestCertificatesAreRenewed runs a Supervisor on certificates of half a minute, until each has changed three times:
// nothing is started again, nobody is refused, no watch ends, and kubectl works all the time. RENEWAL_LIFE and
// RENEWAL_TIME make it longer.
func TestCertificatesAreRenewed(t *testing.T) {
	t.Parallel()
	life, lasting := duration(t, "RENEWAL_LIFE", 30*time.Second), duration(t, "RENEWAL_TIME", 0)
	r := &renewing{Supervisor: suite.New("renewal"), changes: map[string]int{}}
	if err := r.Start("--sim", "--certificate-life="+life.String()); err != nil {
		t.Fatal(err)
	}
	running := true
	t.Cleanup(func() {
		if running {
			_ = r.Stop()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := r.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	r.last = certificatesOf(t, r.Supervisor)
	first := r.Config(t)
	r.person = r.Person(t, "dev-a@vsphere.local")
	if out, err := r.person.Login(t, vcentertest.SamplePassword); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	r.admin, r.developer = r.follow(t, first), r.follow(t, r.person.Config(t))
	r.Kubectl(t, "config", "set-context", "--current", "--namespace=team-b")

	began, deadline := time.Now(), time.Now().Add(lasting+changes*life+3*time.Minute)
	rounds := 0
	for r.least() < changes || time.Since(began) < lasting {
		if time.Now().After(deadline) {
			t.Fatalf("each certificate changed: %v", r.changes)
		}
		rounds++
		r.round(t, strconv.Itoa(rounds))
	}
	t.Logf("%d rounds in %s; changes: %v", rounds, time.Since(began).Round(time.Second), r.changes)
	r.look(t, first)
	running = false
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
}

// look finds everything in its place at the end.
func (r *renewing) look(t *testing.T, first *rest.Config) {
	t.Helper()
	for _, server := range []string{"kube-apiserver", "vsphere-apiserver"} {
		if strings.Contains(r.Log(t, server), "certificate has expired") {
			t.Errorf("%s refused somebody whose certificate had ended", server)
		}
	}
	old := kubernetes.NewForConfigOrDie(first).Discovery().RESTClient()
	if _, err := old.Get().AbsPath("/api").Do(t.Context()).Raw(); err == nil {
		t.Error("the first administrator's certificate is still good: nothing was shown")
	}
	if got := strings.TrimSpace(r.Kubectl(t, "config", "view", "--minify", "-o",
		"jsonpath={..namespace}")); got != "team-b" {
		t.Errorf("the namespace in admin.kubeconfig is %q, and was set to team-b", got)
	}
	for _, server := range r.Servers(t) {
		waittest.Within(t, time.Minute, server.Certificate+" to be shown as it is on disk", func(ctx context.Context) error {
			chain, err := server.Shown(ctx)
			if err == nil && !chain[0].Equal(r.Certificate(t, server.Certificate)) {
				err = fmt.Errorf("another one is shown on port %d, good until %s", server.Port, chain[0].NotAfter)
			}
			return err
		})
	}
	status, err := r.Dir.ReadStatus()
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range status.Components {
		if component.Restarts > 0 || component.State != process.Ready {
			t.Errorf("%s is %s after %d restarts: %s", component.Name, component.State, component.Restarts, component.Reason)
		}
	}
}
