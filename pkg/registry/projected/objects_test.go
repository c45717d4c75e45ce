// SPDX-License-Identifier: Apache-2.0

package projected_test

import (
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry/projected"
)

// thing is some API object that has conditions.
type thing = v1alpha1.AvailabilityZone

var (
	born = metav1.NewTime(time.Unix(1_700_000_000, 0))
	now  = time.Unix(1_800_000_000, 0)
)

// told is a sink that notes what it is told, a line for each change and an empty one at the end of a step. Like a
// store it gives what it takes a version.
type told struct {
	log     []string
	version int
}

func (s *told) versioned(object *thing) {
	s.version++
	object.ResourceVersion = fmt.Sprint(s.version)
}

func (s *told) Replace(objects iter.Seq[*thing]) {
	var all []string
	for object := range objects {
		if object.ResourceVersion == "" {
			s.versioned(object)
		}
		all = append(all, fmt.Sprintf("= %s/%s %s", object.Namespace, object.Name, object.UID))
	}
	slices.Sort(all)
	s.log = append(append(s.log, all...), "")
}

func (s *told) Apply(changes []projected.Change[thing]) {
	for _, change := range changes {
		if change.Object == nil {
			s.log = append(s.log, fmt.Sprintf("- %s/%s", change.Namespace, change.Name))
			continue
		}
		s.versioned(change.Object)
		s.log = append(s.log, fmt.Sprintf("+ %s/%s %s", change.Namespace, change.Name, change.Object.UID))
	}
	s.log = append(s.log, "")
}

func (s *told) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.log); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
	s.log = nil
}

func newObjects() (*projected.Objects[thing], *testingclock.FakePassiveClock) {
	clock := testingclock.NewFakePassiveClock(now)
	return &projected.Objects[thing]{
		Conditions: func(object *thing) *[]metav1.Condition { return &object.Status.Conditions },
		Clock:      clock,
	}, clock
}

// a thing of a uid under a name, whose condition Ready has a status.
func a(uid, name string, ready metav1.ConditionStatus) *thing {
	object := &thing{}
	object.Namespace, object.Name, object.UID, object.CreationTimestamp = "ns", name, types.UID(uid), born
	object.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: ready}}
	return object
}

// truth tells a whole truth: what each id's object is.
func truth(o *projected.Objects[thing], objects map[string]*thing) {
	o.Begin()
	for id, object := range objects {
		o.Set(id, object)
	}
	o.Flush()
}

// TestSteps follows the objects through steps of which each is handed on as one, and only as far as it changes
// something.
func TestSteps(t *testing.T) {
	o, _ := newObjects()
	sink := &told{}
	o.Attach(sink)
	o.Set("1", a("u1", "web", "True"))
	o.Flush()
	sink.expect(t, "before there was a whole truth")
	truth(o, map[string]*thing{"1": a("u1", "web", "True"), "2": a("u2", "db", "True")})
	sink.expect(t, "the first whole truth", "= ns/db u2", "= ns/web u1", "")
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"nothing is new but the version", func() { o.Set("1", a("u1", "web", "True")) }, nil},
		{"another status", func() { o.Set("1", a("u1", "web", "False")) }, []string{"+ ns/web u1", ""}},
		{"another name", func() { o.Set("1", a("u1", "www", "False")) }, []string{"- ns/web", "+ ns/www u1", ""}},
		{"two swap their names", func() {
			o.Set("1", a("u1", "db", "False"))
			o.Set("2", a("u2", "www", "True"))
		}, []string{"+ ns/www u2", "+ ns/db u1", ""}},
		{"a name passes on to who had none", func() {
			o.Set("3", a("u3", "db", "True"))
			o.Drop("1")
		}, []string{"+ ns/db u3", ""}},
		{"it passes on before the other has taken the next", func() {
			o.Set("1", a("u1", "db", "True"))
			o.Set("3", a("u3", "other", "True"))
			o.Set("3", a("u3", "third", "True"))
		}, []string{"+ ns/db u1", "- ns/other", "+ ns/third u3", ""}},
		{"another object of the id", func() { o.Set("3", a("u4", "third", "True")) }, []string{"+ ns/third u4", ""}},
		{"one is gone", func() { o.Drop("3") }, []string{"- ns/third", ""}},
		{"and again", func() { o.Drop("3") }, nil},
	} {
		step.do()
		o.Flush()
		sink.expect(t, step.name, step.want...)
	}
	truth(o, map[string]*thing{"2": a("u2", "www", "True")})
	sink.expect(t, "a later whole truth", "= ns/www u2", "")
	if o.Get("1") != nil || o.Get("2") == nil {
		t.Errorf("after a later whole truth there is %v of what is gone, and %v of what is not", o.Get("1"), o.Get("2"))
	}
}

// What is as it was stays the object that the sink has, also in a whole truth: it is the one whose version is known.
func TestWhatIsTheSameIsKept(t *testing.T) {
	o, _ := newObjects()
	o.Attach(&told{})
	truth(o, map[string]*thing{"1": a("u1", "web", "True")})
	first := o.Get("1")
	o.Set("1", a("u1", "web", "True"))
	o.Flush()
	if o.Get("1") != first {
		t.Error("a step that tells nothing new has replaced the object")
	}
	truth(o, map[string]*thing{"1": a("u1", "web", "True")})
	if o.Get("1") != first {
		t.Error("a whole truth that tells nothing new has replaced the object")
	}
}

// A standby has everything when it becomes the leader, and what is attached in the middle of a step is not given half
// of one.
func TestAttachLater(t *testing.T) {
	o, _ := newObjects()
	truth(o, map[string]*thing{"1": a("u1", "web", "True")})
	o.Set("2", a("u2", "db", "True"))
	o.Flush()
	sink := &told{}
	o.Attach(sink)
	sink.expect(t, "attached after all", "= ns/db u2", "= ns/web u1", "")

	late, never := &told{}, &told{}
	o.Begin()
	o.Set("1", a("u1", "web", "True"))
	detach := o.Attach(late)
	o.Attach(never)()
	late.expect(t, "attached in the middle of a whole truth")
	o.Set("2", a("u2", "db", "True"))
	o.Flush()
	late.expect(t, "at its end", "= ns/db u2", "= ns/web u1", "")
	o.Drop("1")
	o.Flush()
	late.expect(t, "the next step", "- ns/web", "")
	detach()
	o.Drop("2")
	o.Flush()
	late.expect(t, "after it was detached")
	never.expect(t, "detached before the step was over")
}

// said is what an object's condition of a type says, and since when.
func said(o *projected.Objects[thing], id, conditionType string) string {
	for _, c := range o.Get(id).Status.Conditions {
		if c.Type == conditionType {
			return fmt.Sprintf("%s %s at %d", c.Status, c.Reason, c.LastTransitionTime.Unix()-now.Unix())
		}
	}
	return "nothing"
}

func TestConditionsLaidOver(t *testing.T) {
	o, clock := newObjects()
	o.Settled = func(c metav1.Condition) bool { return c.Type == "Ready" && c.Status == metav1.ConditionTrue }
	sink := &told{}
	o.Attach(sink)
	is := func(uid string, ready metav1.ConditionStatus) func() {
		return func() { o.Set("1", a(uid, "web", ready)) }
	}
	lay := func(uid types.UID, conditionType string, status metav1.ConditionStatus) func() {
		return func() {
			condition := metav1.Condition{Type: conditionType, Status: status, Reason: "Said", LastTransitionTime: born}
			if news := o.SetCondition("1", uid, condition); news != (uid == "u1") {
				t.Errorf("laid %s over the object of uid %s: news is %t", conditionType, uid, news)
			}
			if o.SetCondition("1", uid, condition) {
				t.Error("news a second time")
			}
		}
	}
	truth(o, map[string]*thing{"1": a("u1", "web", "False")})
	clear := func() {
		if !o.ClearCondition("1", "u1", "Ready") || o.ClearCondition("1", "u1", "Ready") {
			t.Error("what is news of a clearing is wrong")
		}
		if o.ClearCondition("1", "u2", "Found") {
			t.Error("cleared of another uid")
		}
	}
	birth := fmt.Sprintf("at %d", born.Unix()-now.Unix())
	for i, step := range []struct {
		name         string
		do           []func()
		ready, found string
	}{
		{"nothing was said", nil, "False  " + birth, "nothing"},
		{"of another uid", []func(){lay("u2", "Ready", "Unknown"), is("u1", "False")}, "False  " + birth, "nothing"},
		{"of the same status", []func(){lay("u1", "Ready", "False"), is("u1", "False")}, "False Said " + birth, "nothing"},
		{"of another status", []func(){lay("u1", "Ready", "Unknown"), is("u1", "False")}, "Unknown Said at 3", "nothing"},
		{"of a type of its own", []func(){lay("u1", "Found", "False"), is("u1", "False")},
			"Unknown Said at 3", "False Said at 4"},
		{"the projection leaves nothing to say", []func(){is("u1", "True")}, "True  at 5", "False Said at 4"},
		{"and then it does again", []func(){is("u1", "False")}, "Unknown Said at 6", "False Said at 4"},
		{"a whole truth", []func(){o.Begin, is("u1", "False")}, "Unknown Said at 6", "False Said at 4"},
		{"another name", []func(){func() { o.Set("1", a("u1", "www", "False")) }}, "Unknown Said at 6", "False Said at 4"},
		{"cleared", []func(){clear, is("u1", "False")}, "False  at 9", "False Said at 4"},
		{"another object of the id", []func(){is("u2", "False")}, "False  " + birth, "nothing"},
	} {
		clock.SetTime(now.Add(time.Duration(i) * time.Second))
		for _, do := range step.do {
			do()
		}
		o.Flush()
		if ready, found := said(o, "1", "Ready"), said(o, "1", "Found"); ready != step.ready || found != step.found {
			t.Errorf("%s: Ready is %q, want %q; Found is %q, want %q", step.name, ready, step.ready, found, step.found)
		}
	}
	o.SetCondition("1", "u2", metav1.Condition{Type: "Found", Status: "False"})
	o.Drop("1")
	o.Set("1", a("u2", "web", "False"))
	o.Flush()
	if got := said(o, "1", "Found"); got != "nothing" {
		t.Errorf("of one that was gone in between, Found is %q", got)
	}
}

// A time that the projection knows is the time.
func TestTimesOfTheProjection(t *testing.T) {
	o, _ := newObjects()
	object := a("u1", "web", "True")
	object.Status.Conditions[0].LastTransitionTime = metav1.Unix(0, 0)
	o.Set("1", object)
	if got := o.Get("1").Status.Conditions[0].LastTransitionTime; got.Unix() != 0 {
		t.Errorf("Ready since %v", got)
	}
}
