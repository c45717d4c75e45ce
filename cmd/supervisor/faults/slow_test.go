// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"regexp"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	// listTimeGoal is how long a list may take, at the median, while disks are copied.
	listTimeGoal = 50 * time.Millisecond
	// goneGoal is how soon nothing is left of a machine that is deleted while its disk is copied.
	goneGoal = 10 * time.Second
	// createGoal is how soon a create is answered, however long the copy takes.
	createGoal = 2 * time.Second
	// movesGoal is how often it is said at least how far a copy is.
	movesGoal = 5 * time.Second
)

// TestSlowVCenter: while disks are copied that take their time, creates are answered at once, it is said how far the
// copies are, lists are as fast as ever, and a machine that is deleted leaves nothing. SLOW_SECONDS says how long a copy
// takes.
func TestSlowVCenter(t *testing.T) {
	l := newLoaded(t, "slow", vcentertest.Sample)
	took := time.Duration(number(t, "SLOW_SECONDS", 6)) * time.Second
	l.askAll("first", 1) // reads what is read once
	l.on(time.Minute, "first", 1)
	l.vcenter.AddFault(fault.Rule{Method: "CopyVirtualDisk_Task", Shape: fault.Slow, Delay: took})

	watched, err := l.machines.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=kept"})
	if err != nil {
		t.Fatal(err)
	}
	defer watched.Stop()
	answered, err := l.ask(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("create was answered after %s (goal %s)", answered.Round(time.Millisecond), createGoal)
	if answered >= took {
		t.Error("create waited for the copy")
	}
	said := make(chan []said, 1)
	go func() { said <- progressOf(watched, took) }()

	copies := l.vcenter.Calls()["CopyVirtualDisk_Task"]
	if _, err := l.ask(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	l.copying(max(copies+1, 3))
	l.lists()
	a := l.Admin(t)
	began := time.Now()
	if err := l.machines.Delete(t.Context(), "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waittest.Within(t, time.Minute, "nothing is left of the deleted machine", func(context.Context) error {
		return l.nothingLeft(a, "gone")
	})
	gone := time.Since(began)
	t.Logf("nothing was left %s after a deletion during the copy (goal %s)", gone.Round(time.Millisecond), goneGoal)
	if gone > slack*goneGoal {
		t.Error("that is too late")
	}

	var longest time.Duration
	steps := <-said
	for i := range steps {
		if i > 0 {
			longest = max(longest, steps[i].at.Sub(steps[i-1].at))
			if steps[i].percent <= steps[i-1].percent {
				t.Errorf("it was said to be at %d %% after %d %%", steps[i].percent, steps[i-1].percent)
			}
		}
	}
	t.Logf("of a copy of %s it was said %d times how far it is, at the longest after %s (goal %s)", took, len(steps),
		longest.Round(time.Millisecond), movesGoal)
	if len(steps) < 5 {
		t.Errorf("how far it is was said only as %v", steps)
	}
	if longest > slack*movesGoal {
		t.Errorf("for %s nothing was said", longest)
	}
	l.on(time.Minute, "first", 1)
	waittest.Within(t, time.Minute, "the other machine is made", func(ctx context.Context) error {
		vm, err := l.machines.Get(ctx, "kept", metav1.GetOptions{})
		if err == nil {
			err = isOn(vm)
		}
		return err
	})
}

// said is how far a copy was said to be, and when.
type said struct {
	percent int
	at      time.Time
}

var percentage = regexp.MustCompile(`(\d+) %`)

// progressOf reads a watch until its machine is made, or long enough.
func progressOf(w watch.Interface, took time.Duration) (steps []said) {
	limit := time.After(3*took + time.Minute)
	for {
		select {
		case event, open := <-w.ResultChan():
			if !open {
				return steps
			}
			vm, is := event.Object.(*unstructured.Unstructured)
			if !is {
				return steps
			}
			created := condition(vm, "VirtualMachineCreated")
			if created["status"] == "True" {
				return steps
			}
			message, _ := created["message"].(string)
			found := percentage.FindStringSubmatch(message)
			if found == nil {
				continue
			}
			percent, err := strconv.Atoi(found[1])
			if err == nil && (len(steps) == 0 || steps[len(steps)-1].percent != percent) {
				steps = append(steps, said{percent, time.Now()})
			}
		case <-limit:
			return steps
		}
	}
}

// lists lists the machines again and again.
func (l *loaded) lists() {
	l.t.Helper()
	var times []time.Duration
	for range 21 {
		began := time.Now()
		if _, err := l.machines.List(l.t.Context(), metav1.ListOptions{}); err != nil {
			l.t.Fatal(err)
		}
		times = append(times, time.Since(began))
	}
	took := median(times)
	l.t.Logf("lists take %s at the median while disks are copied (goal %s)", took.Round(100*time.Microsecond), listTimeGoal)
	if took > 10*listTimeGoal {
		l.t.Error("that is too long")
	}
}
