// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// asking is at the end of the references whose locks the tasks hold that wait for an answer: nobody else wants those,
// so that the machine can be read, and asked about, meanwhile.
const asking = "-asking"

// questions are those that machines wait with for an answer.
type questions struct {
	mu     sync.Mutex
	asked  int
	open   map[types.ManagedObjectReference]*question
	closed chan struct{}
}

type question struct {
	id       string
	choices  int
	answered chan struct{}
}

func newQuestions() *questions {
	return &questions{open: map[types.ManagedObjectReference]*question{}, closed: make(chan struct{})}
}

func (q *questions) of(vm types.ManagedObjectReference) *question {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open[vm]
}

// close ends all waiting.
func (q *questions) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.closed:
	default:
		close(q.closed)
	}
}

// Ask has a machine wait with a question: changes of its power begin, and end only after somebody has answered. The
// choices are numbered from 0 on; without any there is one, OK. One that waits already fails.
func (v *VCenter) Ask(machine types.ManagedObjectReference, text string, choices ...string) error {
	ctx := v.inProcess()
	vm, ok := ctx.Map.Get(machine).(*simulator.VirtualMachine)
	if !ok {
		return fmt.Errorf("ask a question: there is no virtual machine %s", machine.Value)
	}
	if len(choices) == 0 {
		choices = []string{"OK"}
	}
	q := v.questions
	q.mu.Lock()
	if q.open[machine] != nil {
		q.mu.Unlock()
		return fmt.Errorf("ask a question: the virtual machine %s waits for another answer", machine.Value)
	}
	q.asked++
	asked := &question{id: strconv.Itoa(q.asked), choices: len(choices), answered: make(chan struct{})}
	q.open[machine] = asked
	q.mu.Unlock()

	info := &types.VirtualMachineQuestionInfo{Id: asked.id, Text: text}
	for i, choice := range choices {
		info.Choice.ChoiceInfo = append(info.Choice.ChoiceInfo, &types.ElementDescription{
			Description: types.Description{Label: choice, Summary: choice}, Key: strconv.Itoa(i),
		})
	}
	v.gate.enter(func() {
		ctx.WithLock(vm, func() {
			ctx.Update(vm, []types.PropertyChange{{Name: "runtime.question", Val: info}, {Name: "summary.runtime.question",
				Val: info}})
		})
	})
	return nil
}

// AnswerVM answers the question that the machine waits with. The simulator has no such method.
func (vm *virtualMachine) AnswerVM(ctx *simulator.Context, req *types.AnswerVM) soap.HasFault {
	body := new(methods.AnswerVMBody)
	vm.questions.mu.Lock()
	defer vm.questions.mu.Unlock()
	asked := vm.questions.open[vm.Self]
	if asked == nil || asked.id != req.QuestionId {
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "questionId"})
		return body
	}
	if choice, err := strconv.Atoi(req.AnswerChoice); err != nil || choice < 0 || choice >= asked.choices {
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "answerChoice"})
		return body
	}
	delete(vm.questions.open, vm.Self)
	ctx.Update(vm.VirtualMachine, []types.PropertyChange{{Name: "runtime.question"}, {Name: "summary.runtime.question"}})
	close(asked.answered)
	body.Res = new(types.AnswerVMResponse)
	return body
}

// afterAnswer does what changes the power, and answers with its task. Where a question is open it answers with one that
// waits, and then does the same. The caller holds the machine's lock.
func (vm *virtualMachine) afterAnswer(ctx *simulator.Context, name string,
	act func(*simulator.Context) soap.HasFault) (types.ManagedObjectReference, *soap.Fault) {
	asked := vm.questions.of(vm.Self)
	if asked == nil {
		return taskOf(act(ctx))
	}
	waits := types.ManagedObjectReference{Type: vm.Self.Type, Value: vm.Self.Value + asking}
	own := &simulator.Context{Context: ctx.Context, Map: ctx.Map, Session: ctx.Session}
	task := simulator.CreateTask(waits, name, func(*simulator.Task) (_ types.AnyType, fault types.BaseMethodFault) {
		select {
		case <-asked.answered:
		case <-vm.questions.closed:
			return nil, new(types.RequestCanceled)
		}
		vm.gate.enter(func() {
			var inner types.ManagedObjectReference
			var refusal *soap.Fault
			own.WithLock(vm.VirtualMachine, func() { inner, refusal = taskOf(act(own)) })
			if refusal != nil {
				fault, _ = refusal.VimFault().(types.BaseMethodFault)
				return
			}
			fault = result(own, inner)
		})
		return nil, fault
	})
	ref := task.Run(&simulator.Context{Context: ctx.Context, Map: ctx.Map, Session: ctx.Session})
	ctx.WithLock(task, func() {
		ctx.Update(task, []types.PropertyChange{{Name: "info.entity", Val: vm.Self}, {Name: "info.entityName", Val: vm.Name}})
	})
	ctx.Update(vm.VirtualMachine, []types.PropertyChange{{Name: "recentTask", Val: append(vm.RecentTask, ref)}})
	return ref, nil
}

// taskOf is the task that a method answers with, or its fault.
func taskOf(body soap.HasFault) (types.ManagedObjectReference, *soap.Fault) {
	if fault := body.Fault(); fault != nil {
		return types.ManagedObjectReference{}, fault
	}
	answer := reflect.ValueOf(body).Elem().FieldByName("Res").Elem().FieldByName("Returnval")
	return answer.Interface().(types.ManagedObjectReference), nil
}

// waitsForAnswer says whether a task waits for somebody to answer.
func waitsForAnswer(task *simulator.Task) bool {
	return strings.HasSuffix(task.Info.Entity.Value, asking)
}

// PowerOnVMTask waits for an answer where one is asked for.
func (vm *virtualMachine) PowerOnVMTask(ctx *simulator.Context, req *types.PowerOnVM_Task) soap.HasFault {
	ref, fault := vm.afterAnswer(ctx, "powerOn", func(own *simulator.Context) soap.HasFault {
		if fault := vm.admit(own); fault != nil {
			return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: failed(own, vm.VirtualMachine,
				"powerOn", fault)}}
		}
		return vm.VirtualMachine.PowerOnVMTask(own, req)
	})
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: ref}, Fault_: fault}
}

// PowerOffVMTask waits for an answer where one is asked for.
func (vm *virtualMachine) PowerOffVMTask(ctx *simulator.Context, req *types.PowerOffVM_Task) soap.HasFault {
	ref, fault := vm.afterAnswer(ctx, "powerOff", func(own *simulator.Context) soap.HasFault {
		return vm.VirtualMachine.PowerOffVMTask(own, req)
	})
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: ref}, Fault_: fault}
}

// SuspendVMTask waits for an answer where one is asked for.
func (vm *virtualMachine) SuspendVMTask(ctx *simulator.Context, req *types.SuspendVM_Task) soap.HasFault {
	ref, fault := vm.afterAnswer(ctx, "suspend", func(own *simulator.Context) soap.HasFault {
		return vm.VirtualMachine.SuspendVMTask(own, req)
	})
	return &methods.SuspendVM_TaskBody{Res: &types.SuspendVM_TaskResponse{Returnval: ref}, Fault_: fault}
}
