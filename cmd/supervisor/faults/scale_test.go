// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	// manyNamespaces is how many vSphere Namespaces TestManyNamespaces makes, beside those of the samples.
	manyNamespaces = 500
	// manyRoles is in how many of them the developer has a role.
	manyRoles = 5
	// manyWorkloads is how often the developer's workloads are asked for.
	manyWorkloads = 100
	// loginGoal and listGoal are the goals.
	loginGoal = 2 * time.Second
	listGoal  = 300 * time.Millisecond
	// slack is what the goals are multiplied with: the machine that tests run on does other things besides.
	slack = 3
	// strayReviews is what the cluster itself may ask at the same time: its controllers and the aggregator are clients
	// too. It is far from the number of namespaces.
	strayReviews = 20
)

// TestManyNamespaces is the day of a developer with few roles in a cluster of many vSphere Namespaces: logging in,
// asking what is theirs, and listing it takes no longer for all the others.
func TestManyNamespaces(t *testing.T) {
	s := suite.New("many")
	if err := s.Start("--sim"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 85*time.Second)
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	mine := fill(t, s, ctx)
	workloads(t, s, mine)

	// The developer's password is proved, and the contexts are theirs alone. The plugin's start counts.
	p := s.Person(t, "nobody@vsphere.local")
	began := time.Now()
	out, err := p.Login(t, vcentertest.SamplePassword)
	took := time.Since(began)
	if err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	t.Logf("login through the plugin, its start included: %s (goal %s)", took.Round(time.Millisecond), loginGoal)
	if took > slack*loginGoal {
		t.Errorf("the login took %s", took)
	}
	for _, name := range mine {
		if !strings.Contains(out, "   "+name+"\n") {
			t.Errorf("no context for %s:\n%s", name, out)
		}
	}

	lists(t, s, p, mine)

	// A role that is taken away stops counting.
	s.Kubectl(t, "delete", "rolebinding", "developer", "-n", mine[0])
	gone := waittest.Within(t, 20*time.Second, mine[0]+" to be shown no more", func(context.Context) error {
		out, err := p.Types(t, "", "get", "vns", "-o", "name")
		if err == nil && strings.Contains(out, "/"+mine[0]+"\n") {
			err = fmt.Errorf("it is shown:\n%s", out)
		}
		return err
	})
	t.Logf("a role that was taken away was not shown any more after %s, kubectl's start included",
		gone.Round(time.Millisecond))
}

// fill makes the folders, and the roles of everybody in them. It returns the namespaces in which nobody@vsphere.local
// has a role.
func fill(t *testing.T, s *supervisortest.Supervisor, ctx context.Context) (mine []string) {
	t.Helper()
	began := time.Now()
	a := s.Admin(t)
	parent, err := a.Finder.Folder(ctx, "/DC0/vm/Namespaces")
	if err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(s.Config(t))
	var names []string
	for i := range manyNamespaces {
		names = append(names, fmt.Sprintf("many-%03d", i))
	}
	for _, name := range names {
		if _, err := parent.CreateFolder(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	folders := time.Since(began)
	if err := waittest.Poll(ctx, func() error {
		list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		made := 0
		for _, namespace := range list.Items {
			if strings.HasPrefix(namespace.Name, "many-") {
				made++
			}
		}
		if made < manyNamespaces {
			return fmt.Errorf("there are %d Namespaces of %d", made, manyNamespaces)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	namespaces := time.Since(began)
	giving, ctx := errgroup.WithContext(ctx)
	giving.SetLimit(8)
	for i, name := range names {
		who := fmt.Sprintf("sso:dev-%03d@vsphere.local", i)
		if i%(manyNamespaces/manyRoles) == 7 {
			who = "sso:nobody@vsphere.local"
			mine = append(mine, name)
		}
		giving.Go(func() error {
			return waittest.Poll(ctx, func() error {
				_, err := client.RbacV1().RoleBindings(name).Create(ctx, &rbacv1.RoleBinding{
					ObjectMeta: metav1.ObjectMeta{Name: "developer"},
					Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: who}},
					RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
				}, metav1.CreateOptions{})
				return err
			})
		})
	}
	if err := giving.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d folders after %.1f s, their Namespaces after %.1f s, the roles in them after %.1f s", manyNamespaces,
		folders.Seconds(), namespaces.Seconds(), time.Since(began).Seconds())
	return mine
}

// reviews is how often vsphere-apiserver has asked the cluster who may do what.
func reviews(t *testing.T, s *supervisortest.Supervisor) int {
	t.Helper()
	status, body, err := s.Probe(t, "/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("metrics: status %d, %v", status, err)
	}
	total := 0
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "apiserver_delegated_authz_request_total{") {
			count, err := strconv.Atoi(strings.Fields(line)[1])
			if err != nil {
				t.Fatalf("metric %q: %v", line, err)
			}
			total += count
		}
	}
	if total == 0 {
		t.Fatal("there are no reviews in the metrics")
	}
	return total
}

// workloads asks for those of nobody@vsphere.local again and again; nobody has asked for their rights before.
func workloads(t *testing.T, s *supervisortest.Supervisor, mine []string) {
	t.Helper()
	ports, err := s.Dir.ReadPorts()
	if err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{
		Host: fmt.Sprintf("https://localhost:%d", ports["login"]), Username: "nobody@vsphere.local",
		Password:        vcentertest.SamplePassword,
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(s.Dir.PKI(), "ca.crt")},
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	before, began := reviews(t, s), time.Now()
	var times []time.Duration
	for range manyWorkloads {
		asked := time.Now()
		response, err := client.Get(config.Host + "/wcp/workloads")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		times = append(times, time.Since(asked))
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("workloads: status %d, %v\n%s", response.StatusCode, err, body)
		}
		if len(times) > 1 {
			continue
		}
		var got []struct{ Namespace string }
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("workloads: %v\n%s", err, body)
		}
		var names []string
		for _, workload := range got {
			names = append(names, workload.Namespace)
		}
		slices.Sort(names)
		if diff := cmp.Diff(mine, names); diff != "" {
			t.Errorf("workloads (-want +got):\n%s", diff)
		}
	}
	asked, took := reviews(t, s)-before, time.Since(began)
	first := times[0]
	slices.Sort(times)
	t.Logf("/wcp/workloads, the proof of the password included: first %s, p50 %s, p99 %s; %d requests in %.1f s took "+
		"%d reviews",
		first.Round(time.Millisecond), times[len(times)/2].Round(100*time.Microsecond),
		times[len(times)*99/100].Round(100*time.Microsecond), manyWorkloads, took.Seconds(), asked)
	// The answers of the reviews are good for 10 s.
	if most := (1+manyRoles)*(2+int(took/(10*time.Second))) + strayReviews; asked < 1+manyRoles || asked > most {
		t.Errorf("%d requests took %d reviews, want %d to %d", manyWorkloads, asked, 1+manyRoles, most)
	}
	if p99 := times[len(times)*99/100]; p99 > slack*listGoal {
		t.Errorf("p99 of /wcp/workloads is %s", p99)
	}
}

// lists reads the vSphere Namespaces as kubectl does, over one connection and by kubectl itself. The
// goal is meant from the first time on, and without the start of a process.
func lists(t *testing.T, s *supervisortest.Supervisor, p *supervisortest.Person, mine []string) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	before := reviews(t, s)
	var times []time.Duration
	for range 20 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
			config.Host+"/apis/vsphere.openpacific.io/v1alpha1/namespaces?limit=500", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
		began := time.Now()
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		times = append(times, time.Since(began))
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("list: status %d, %v\n%s", response.StatusCode, err, body)
		}
		var table metav1.Table
		if err := json.Unmarshal(body, &table); err != nil || len(table.Rows) != len(mine) {
			t.Fatalf("a table of %d rows (%v), want %d:\n%s", len(table.Rows), err, len(mine), body)
		}
	}
	asked := reviews(t, s) - before
	first := times[0]
	slices.Sort(times)
	t.Logf("a list of vSphere Namespaces: first %s, p50 %s, longest %s (goal %s); 20 took %d reviews",
		first.Round(time.Millisecond), times[len(times)/2].Round(100*time.Microsecond),
		times[len(times)-1].Round(100*time.Microsecond), listGoal, asked)
	if longest := times[len(times)-1]; longest > slack*listGoal {
		t.Errorf("a list took %s", longest)
	}
	if most := 2*(2+manyRoles) + strayReviews; asked > most {
		t.Errorf("20 lists took %d reviews, want at most %d", asked, most)
	}

	var want []string
	for _, name := range mine {
		want = append(want, "namespace.vsphere.openpacific.io/"+name)
	}
	times = nil
	for range 3 {
		began := time.Now()
		out, err := p.Types(t, "", "get", "vns", "-o", "name")
		times = append(times, time.Since(began))
		if err != nil {
			t.Fatalf("get vns: %v\n%s", err, out)
		}
		if diff := cmp.Diff(want, strings.Fields(out)); diff != "" {
			t.Errorf("get vns (-want +got):\n%s", diff)
		}
	}
	t.Logf("kubectl get vns, its start included: first (with discovery) %s, then %s, %s", times[0].Round(time.Millisecond),
		times[1].Round(time.Millisecond), times[2].Round(time.Millisecond))
}
