// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/openpacific/pacific/pkg/failure"
)

// cluster is an authorizer that allows by user and Namespace, and notes what it was
// asked.
type cluster struct {
	mu      sync.Mutex
	allowed map[string][]string // Namespaces by user; "" is everywhere
	failing map[string]error    // by Namespace
	asked   []string
	now     int // reviews under way
	most    int
}

func (c *cluster) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if a.GetVerb() != "get" || a.GetAPIGroup() != "vmoperator.vmware.com" || a.GetResource() != "virtualmachines" ||
		!a.IsResourceRequest() || a.GetName() != "" {
		return authorizer.DecisionDeny, "", fmt.Errorf("a foreign question: %+v", a)
	}
	c.mu.Lock()
	c.now++
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	<-time.After(time.Millisecond) // so that reviews overlap
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
	c.asked = append(c.asked, a.GetNamespace())
	if slices.Contains(c.allowed[a.GetUser().GetName()], a.GetNamespace()) {
		return authorizer.DecisionAllow, "", c.failing[a.GetNamespace()]
	}
	return authorizer.DecisionNoOpinion, "", c.failing[a.GetNamespace()]
}

// questions returns what was asked since the last call, sorted.
func (c *cluster) questions() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = nil
	slices.Sort(asked)
	return asked
}

func binding(namespace, name string, subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}}
}

func subject(kind, name string) rbacv1.Subject { return rbacv1.Subject{Kind: kind, Name: name} }

// newReviewer returns one over the RoleBindings, filled, and the client by which
// they change.
func newReviewer(t *testing.T, authorizer authorizer.UnconditionalAuthorizer,
	bindings ...runtime.Object) (*Reviewer, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset(bindings...)
	factory := informers.NewSharedInformerFactory(client, 0)
	reviewer, err := NewReviewer(authorizer, factory.Rbac().V1().RoleBindings())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	factory.StartWithContext(ctx)
	t.Cleanup(func() {
		cancel()
		factory.Shutdown()
	})
	deadline, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	if !cache.WaitForCacheSync(deadline.Done(), reviewer.bindings.HasSynced) {
		t.Fatal("the informer was not filled within 10 s")
	}
	return reviewer, client
}

var teams = []string{"team-a", "team-b", "team-c", "team-d"}

func TestSees(t *testing.T) {
	bindings := []runtime.Object{
		binding("team-a", "dev", subject("User", "sso:dev")),
		binding("team-b", "devs", subject("Group", "sso:devs")),
		// Names a role without a right to machines: asked, and refused.
		binding("team-c", "clerk", subject("User", "sso:clerk"), subject("User", "sso:dev")),
		binding("team-d", "robot", rbacv1.Subject{Kind: "ServiceAccount", Namespace: "ci", Name: "robot"}),
		binding("team-b", "local", subject("ServiceAccount", "robot")), // of team-b
		binding("team-d", "accounts", subject("Group", "system:serviceaccounts:ci")),
		// A user with the name of a group, and the other way round.
		binding("team-d", "confused", subject("User", "sso:devs"), subject("Group", "sso:dev")),
		binding("elsewhere", "dev", subject("User", "sso:dev")),
	}
	everybody := []string{"sso:dev", "system:serviceaccount:ci:robot", "system:serviceaccount:team-b:robot", "nobody"}
	allowed := map[string][]string{"admin": {""}, "webhook": {"team-a"}}
	for _, who := range everybody {
		allowed[who] = []string{"team-a", "team-b", "team-d", "elsewhere"}
	}
	for _, test := range []struct {
		name      string
		who       *user.DefaultInfo
		want      []bool
		questions []string
	}{
		{"an administrator", &user.DefaultInfo{Name: "admin"}, []bool{true, true, true, true}, []string{""}},
		{"a developer", &user.DefaultInfo{Name: "sso:dev"}, []bool{true, false, false, false},
			[]string{"", "team-a", "team-c"}},
		{"a developer by group too", &user.DefaultInfo{Name: "sso:dev", Groups: []string{"sso:devs", "system:authenticated"}},
			[]bool{true, true, false, false}, []string{"", "team-a", "team-b", "team-c"}},
		{"a service account", &user.DefaultInfo{Name: "system:serviceaccount:ci:robot",
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:ci"}},
			[]bool{false, false, false, true}, []string{"", "team-d"}},
		{"a service account of the binding's Namespace", &user.DefaultInfo{Name: "system:serviceaccount:team-b:robot"},
			[]bool{false, true, false, false}, []string{"", "team-b"}},
		{"nobody", &user.DefaultInfo{Name: "nobody", Groups: []string{"system:authenticated"}},
			[]bool{false, false, false, false}, []string{""}},
		// What another authorizer than RBAC allows in one Namespace is not found.
		{"somebody by webhook", &user.DefaultInfo{Name: "webhook"}, []bool{false, false, false, false}, []string{""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := &cluster{allowed: allowed}
			reviewer, _ := newReviewer(t, asked, bindings...)
			got, err := reviewer.Sees(t.Context(), test.who, teams)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("seen of %v (-want +got):\n%s", teams, diff)
			}
			if diff := cmp.Diff(test.questions, asked.questions()); diff != "" {
				t.Errorf("reviews (-want +got):\n%s", diff)
			}
		})
	}
}

// What is asked does not grow with the number of Namespaces, and not all at once.
func TestReviewsAreFew(t *testing.T) {
	asked := &cluster{allowed: map[string][]string{"dev": {}}}
	var bindings []runtime.Object
	var namespaces []string
	for i := range 500 {
		name := fmt.Sprintf("team-%03d", i)
		namespaces = append(namespaces, name)
		who := "sso:other"
		if i%10 == 0 {
			who = "dev"
			asked.allowed["dev"] = append(asked.allowed["dev"], name)
		}
		bindings = append(bindings, binding(name, "dev", subject("User", who)))
	}
	reviewer, _ := newReviewer(t, asked, bindings...)
	seen, err := reviewer.Sees(t.Context(), &user.DefaultInfo{Name: "dev"}, namespaces)
	if err != nil {
		t.Fatal(err)
	}
	for i, shown := range seen {
		if shown != (i%10 == 0) {
			t.Errorf("%s is seen: %t", namespaces[i], shown)
		}
	}
	if got := len(asked.questions()); got != 1+50 {
		t.Errorf("%d reviews for 50 Namespaces of 500, want 51", got)
	}
	if asked.most > reviews || asked.most < 2 {
		t.Errorf("%d reviews at once, want 2 to %d", asked.most, reviews)
	}
}

// A role that comes or goes counts as soon as the informer has it.
func TestRolesComeAndGo(t *testing.T) {
	asked := &cluster{allowed: map[string][]string{"dev": {"team-a"}}}
	reviewer, client := newReviewer(t, asked)
	until := func(want bool) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for {
			got, err := reviewer.Sees(t.Context(), &user.DefaultInfo{Name: "dev"}, teams)
			if err != nil {
				t.Fatal(err)
			}
			if got[0] == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("team-a was not seen: %t within 10 s", want)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	until(false)
	bindings := client.RbacV1().RoleBindings("team-a")
	if _, err := bindings.Create(t.Context(), binding("team-a", "dev", subject("User", "dev")),
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(true)
	if _, err := bindings.Update(t.Context(), binding("team-a", "dev", subject("User", "other")),
		metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(false)
}

// Before the index is filled, nothing is passed over, and nobody waits for it.
func TestEachIsAskedBeforeTheIndexIsFilled(t *testing.T) {
	asked := &cluster{allowed: map[string][]string{"dev": {"team-b"}}}
	reviewer, err := NewReviewer(asked, informers.NewSharedInformerFactory(fake.NewClientset(),
		0).Rbac().V1().RoleBindings())
	if err != nil {
		t.Fatal(err)
	}
	got, err := reviewer.Sees(t.Context(), &user.DefaultInfo{Name: "dev"}, teams)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{false, true, false, false}, got); diff != "" {
		t.Errorf("seen of %v (-want +got):\n%s", teams, diff)
	}
	if diff := cmp.Diff(append([]string{""}, teams...), asked.questions()); diff != "" {
		t.Errorf("reviews (-want +got):\n%s", diff)
	}
}

// When the authorizer cannot be asked, nothing is seen and nothing is guessed.
func TestNoAnswerIsAnError(t *testing.T) {
	away := apierrors.NewForbidden(rbacv1.Resource("subjectaccessreviews"), "",
		errors.New("kube-apiserver does not know this server"))
	for _, failing := range []string{"", "team-b"} {
		asked := &cluster{allowed: map[string][]string{"dev": {"team-a"}}, failing: map[string]error{failing: away}}
		reviewer, _ := newReviewer(t, asked, binding("team-a", "dev", subject("User", "dev")),
			binding("team-b", "dev", subject("User", "dev")))
		seen, err := reviewer.Sees(t.Context(), &user.DefaultInfo{Name: "dev"}, teams)
		if seen != nil || !errors.Is(err, failure.Unavailable) {
			t.Errorf("with no answer about %q: %v, %v", failing, seen, err)
		}
		var status apierrors.APIStatus
		if errors.As(err, &status) {
			t.Errorf("kube-apiserver's status would be taken for the answer to the user: %v", err)
		}
	}
	asked := &cluster{failing: map[string]error{"": away}}
	reviewer, _ := newReviewer(t, asked)
	if seen, err := reviewer.Sees(t.Context(), &user.DefaultInfo{Name: "dev"}, nil); len(seen) > 0 || err != nil {
		t.Errorf("of no Namespaces: %v, %v", seen, err)
	}
	// An error beside an answer that allows is of somebody who had no say.
	asked = &cluster{allowed: map[string][]string{"admin": {""}}, failing: map[string]error{"": away}}
	reviewer, _ = newReviewer(t, asked)
	if seen, err := reviewer.Sees(t.Context(), &user.DefaultInfo{Name: "admin"}, teams[:1]); !cmp.Equal([]bool{true},
		seen) || err != nil {
		t.Errorf("allowed in spite of an error elsewhere: %v, %v", seen, err)
	}
}
