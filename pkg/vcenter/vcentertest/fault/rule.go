// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// Shape is how a call goes wrong.
type Shape int

const (
	// Refused has the call itself fail. Nothing is done.
	Refused Shape = iota
	// TaskFails has the call succeed, and its task fail before it has done anything. A call without a task is Refused.
	TaskFails
	// TaskFailsHalfway has the task fail after part of its work, which stays. A call without a task is Refused.
	TaskFailsHalfway
	// AnswerLost has everything done, its task included, and the connection cut in place of an answer.
	AnswerLost
	// NoAnswer has the connection cut before anything is done.
	NoAnswer
	// SessionEnds has everything done and answered, and the session of whoever called ended then.
	SessionEnds
	// Slow has the task take as long as Delay says, with a progress that moves, and do its work at the end. It fails
	// then if there is a Fault, and nothing is done. It can be cancelled. A call without a task is answered late.
	Slow
)

// What Rule.Method may be besides a name.
const (
	// Any is every method.
	Any = "*"
	// Changing is every method that changes what others see.
	Changing = "changes"
)

// Rule is which calls go wrong, and how.
type Rule struct {
	// Method is the SOAP name, such as PowerOffVM_Task, that of a REST call, such as "POST
	// /com/vmware/content/library/item", Any or Changing.
	Method string
	// Object restricts the rule to the entity of that name.
	Object string
	// Shape is how it goes wrong.
	Shape Shape
	// Fault is what the caller gets; nil is a SystemError.
	Fault types.BaseMethodFault
	// Nth restricts the rule to the n-th call that it is about, from 1 on. Skip lets so many calls pass first; Count fails
	// only so many, 0 all. All count from when the rule was made.
	Nth         int
	Skip, Count int
	// Delay holds the answer back, or is how long a slow task takes.
	Delay time.Duration
	// Then is called when the rule has fired: after the work where the shape has some done, and before the answer.
	Then func()
}

// Reason is what the caller gets.
func (r *Rule) Reason() types.BaseMethodFault {
	if r.Fault == nil {
		return &types.SystemError{Reason: "the test wants it"}
	}
	return r.Fault
}

// Call is what came in.
type Call struct {
	// Method is named as in a Rule.
	Method string
	// Changes says whether it changes what others see.
	Changes bool
}

// Rules are those that count. The zero value has none.
type Rules struct {
	mu    sync.Mutex
	rules []*armed
}

type armed struct {
	Rule
	matched int
}

// Add makes a rule count.
func (r *Rules) Add(rule Rule) {
	if rule.Nth > 0 {
		rule.Skip, rule.Count = rule.Nth-1, 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = append(r.rules, &armed{Rule: rule})
}

// Clear has no rule count any more.
func (r *Rules) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = nil
}

// NamesObjects says whether it matters of what object a method is called.
func (r *Rules) NamesObjects(call Call) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.rules, func(a *armed) bool { return a.Object != "" && a.about(call) })
}

// Match counts a call on an object of a name, and returns the first rule that it falls under, nil where there is none.
func (r *Rules) Match(call Call, object string) *Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.rules {
		if !a.about(call) || a.Object != "" && a.Object != object {
			continue
		}
		a.matched++
		if a.matched > a.Skip && (a.Count == 0 || a.matched <= a.Skip+a.Count) {
			return &a.Rule
		}
	}
	return nil
}

func (a *armed) about(call Call) bool {
	return a.Method == Any || a.Method == Changing && call.Changes || a.Method == call.Method
}
