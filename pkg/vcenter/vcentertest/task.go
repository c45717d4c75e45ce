// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"reflect"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/slow"
)

// hasTask says whether a method is answered with a task.
func hasTask(method string) bool { return strings.HasSuffix(method, "_Task") }

// byTask answers a call with a task of this package's own, which does what a rule says in place of the simulator's, or
// around it.
func (v *VCenter) byTask(ctx *simulator.Context, method *simulator.Method, handler mo.Reference, rule *fault.Rule) {
	own, session, call := *ctx, *ctx.Session, *method
	own.Session = &session
	work := slow.Work{About: ctx.Map.Get(method.This), Method: method.Name, User: session.UserName, Takes: rule.Delay}
	end := func() (types.AnyType, types.BaseMethodFault) { return nil, rule.Reason() }
	switch {
	case rule.Shape == fault.TaskFailsHalfway:
		end = func() (types.AnyType, types.BaseMethodFault) {
			v.gate.enter(func() { halfway(&own, &call) })
			return nil, rule.Reason()
		}
	case rule.Shape == fault.Slow && rule.Fault == nil:
		work.Begin, work.Undo = v.begins(&own, &call)
		end = func() (result types.AnyType, fault types.BaseMethodFault) {
			v.gate.enter(func() {
				if work.Undo != nil {
					work.Undo() // what it has begun with makes room for the whole
				}
				result, fault = invoke(&own, handler, &call)
			})
			return result, fault
		}
	}
	work.End = func() (types.AnyType, types.BaseMethodFault) {
		result, fault := end()
		if rule.Then != nil {
			rule.Then()
		}
		return result, fault
	}
	v.answerWith(ctx, method, v.tasks.Start(ctx, work))
}

// refuseByTask answers a call with a task that fails.
func (v *VCenter) refuseByTask(ctx *simulator.Context, method *simulator.Method, why types.BaseMethodFault) {
	v.byTask(ctx, method, nil, &fault.Rule{Shape: fault.TaskFails, Fault: why})
}

// answerWith has the simulator call a method that answers with a task, whatever was called.
func (v *VCenter) answerWith(ctx *simulator.Context, method *simulator.Method, task types.ManagedObjectReference) {
	only := simulator.NewRegistry()
	only.Put(&answer{Self: method.This, method: method.Name, task: task})
	ctx.Session.Registry = only
	method.Name = "Answer"
}

// answer is asked in place of the object that a call is made of.
type answer struct {
	Self   types.ManagedObjectReference
	method string
	task   types.ManagedObjectReference
}

// Reference implements mo.Reference.
func (a *answer) Reference() types.ManagedObjectReference { return a.Self }

// Lock keeps the simulator from locking what the call is made of.
func (*answer) Lock() {}

// Unlock belongs to Lock.
func (*answer) Unlock() {}

// Answer is called in place of every method.
func (a *answer) Answer(any) soap.HasFault {
	return &answerBody{Res: &answerResponse{method: a.method, task: a.task}}
}

type answerBody struct {
	Res *answerResponse
}

// Fault implements soap.HasFault.
func (*answerBody) Fault() *soap.Fault { return nil }

type answerResponse struct {
	method string
	task   types.ManagedObjectReference
}

// MarshalXML writes what the method that was called answers with.
func (r *answerResponse) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	start.Name.Local = r.method + "Response"
	return e.EncodeElement(struct {
		Returnval types.ManagedObjectReference `xml:"returnval"`
	}{r.task}, start)
}

// implemented is a method of an object that answers with a task, invalid where there is none.
func implemented(handler mo.Reference, method string) reflect.Value {
	name := strings.TrimSuffix(method, "_Task") + "Task"
	return reflect.ValueOf(handler).MethodByName(strings.ToUpper(name[:1]) + name[1:])
}

// invoke has a method done that answers with a task, and waits for that.
func invoke(ctx *simulator.Context, handler mo.Reference,
	call *simulator.Method) (types.AnyType, types.BaseMethodFault) {
	method := implemented(handler, call.Name)
	arguments := []reflect.Value{reflect.ValueOf(call.Body)}
	if method.Type().NumIn() == 2 {
		arguments = append([]reflect.Value{reflect.ValueOf(ctx)}, arguments...)
	}
	var body soap.HasFault
	ctx.WithLock(handler, func() { body = method.Call(arguments)[0].Interface().(soap.HasFault) })
	ref, refusal := taskOf(body)
	if refusal != nil {
		why, _ := refusal.VimFault().(types.BaseMethodFault)
		return nil, why
	}
	if why := result(ctx, ref); why != nil {
		return nil, why
	}
	var made types.AnyType
	task := ctx.Map.Get(ref).(*simulator.Task)
	ctx.WithLock(task, func() { made = task.Info.Result })
	return made, nil
}

// taskControl cancels those tasks that can be cancelled.
type taskControl struct {
	*simulator.Task
	tasks *slow.Tasks
}

// CancelTask fails with NotSupported for a task that cannot be cancelled. The simulator has all fail that way, which go
// on with their work and succeed.
func (t *taskControl) CancelTask(_ *simulator.Context, _ *types.CancelTask) soap.HasFault {
	body := new(methods.CancelTaskBody)
	done := t.Info.State == types.TaskInfoStateSuccess || t.Info.State == types.TaskInfoStateError
	if why := t.tasks.Cancel(t.Task, done); why != nil {
		body.Fault_ = simulator.Fault("", why)
		return body
	}
	body.Res = new(types.CancelTaskResponse)
	return body
}
