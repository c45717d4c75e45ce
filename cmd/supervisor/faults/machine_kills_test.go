// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

const (
	// machineKills is how many faults TestMachineKills makes; MACHINE_KILLS says otherwise.
	machineKills = 8
	// machineWorkers make, change and delete machines meanwhile, each with a policy and a service of its own.
	machineWorkers = 4
)

// machineFaults are what may happen while machines are made, each as often as its weight is.
var machineFaults = []faultKind{
	{"vsphere-apiserver", 34}, {"etcd", 10}, {"kube-apiserver", 6}, {"vCenter away", 14}, {"vCenter restarted", 12},
	{"sessions terminated", 14}, {"another leads", 10},
}

// TestMachineKills makes, changes and deletes virtual machines, with resource policies and services, while vCenter, etcd
// and the servers die at random moments and another one takes the lead. At the end each machine is as it was accepted
// last, there is none twice, and when all are deleted nothing is left. MACHINE_KILLS=n makes n faults, KILLS_SEED=n those
// of a run before; else they are the same for a day.
func TestMachineKills(t *testing.T) {
	count, seed := number(t, "MACHINE_KILLS", machineKills), number(t, "KILLS_SEED", seedOfToday())
	fmt.Printf("machine kills: %d faults, KILLS_SEED=%d\n", count, seed)
	f := newFaultyOn(t, "machine-kills", vcentertest.Options{Password: "Correct-Horse-7", Inventory: vcentertest.Sample,
		GuestsStart: 100 * time.Millisecond})
	f.up(t, "--load-balancer-addresses=10.66.252.0/24")
	defer f.down(t)
	f.ready(t)
	m := &maker{faulty: f, t: t, namespace: f.Shop(t, "machine-kills")}
	f.Kubectl(t, "patch", "vns", m.namespace, "--type=merge", "-p",
		`{"spec":{"virtualMachineClasses":["best-effort-small","best-effort-medium"]}}`)
	file, err := os.Create(f.Dir.Log("machine-kills"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	journal := log.New(file, "", log.Ltime|log.Lmicroseconds)
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	workers := make([]*machineWorker, machineWorkers)
	for i := range workers {
		workers[i] = &machineWorker{t: t, number: i, namespace: m.namespace, log: journal,
			random: rand.New(rand.NewPCG(uint64(seed), uint64(i)+101)), client: f.Dynamic(t)}
		running.Go(func() { workers[i].run(ctx) })
	}
	k := &killer{t: t, f: f, random: rand.New(rand.NewPCG(uint64(seed), 100)), log: journal, faults: machineFaults,
		made: map[string]int{}, quick: map[string]int{}}
	for _, at := range k.random.Perm(len(machineFaults)) {
		k.due = append(k.due, machineFaults[at].name)
	}
	for range count {
		k.fault()
		pause(ctx, time.Duration(k.random.IntN(3000))*time.Millisecond)
	}
	cancel()
	running.Wait()
	took, healing := time.Since(began), time.Now()
	var wrong []string
	for _, w := range workers {
		wrong = append(wrong, w.settled()...)
	}
	healed := time.Since(healing)
	asked, accepted := 0, 0
	for _, w := range workers {
		asked, accepted = asked+w.asked, accepted+w.accepted
		wrong = append(wrong, w.removed()...)
	}
	fmt.Printf("machine kills: %v in %.0f s; %d requests, %d accepted; all is as accepted after another %.1f s\n", k.made,
		took.Seconds(), asked, accepted, healed.Seconds())
	if len(wrong) > 0 {
		t.Fatalf("with MACHINE_KILLS=%d KILLS_SEED=%d, %d things are not as accepted:\n%s", count, seed, len(wrong),
			strings.Join(wrong, "\n"))
	}
	l := &lives{maker: m, admin: f.Admin(t)}
	l.nothingIsLeft("m")
}

// machineWorker makes, changes and deletes machines of its own, one request after the other, and knows what each of them
// is to be.
type machineWorker struct {
	t         *testing.T
	number    int
	namespace string
	random    *rand.Rand
	log       *log.Logger
	client    dynamic.Interface

	subjects        []*machineSubject
	policy, service fate
	asked, accepted int
}

// machineSubject is a machine to come, one that is, or one that was.
type machineSubject struct {
	name             string
	created, deleted fate
	wishes           []machineWish // that may have been accepted last, one of which counts
}

// machineWish is what is declared of a machine.
type machineWish struct{ class, power string }

var memoryOf = map[string]string{"best-effort-small": "4Gi", "best-effort-medium": "8Gi"}

func (w *machineWorker) of(resource string) dynamic.ResourceInterface {
	return w.client.Resource(vmopv1.GroupVersion.WithResource(resource)).Namespace(w.namespace)
}

// own is what the worker's policy and service are called.
func (w *machineWorker) own() string { return fmt.Sprintf("m%d", w.number) }

func (w *machineWorker) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.step(ctx)
		pause(ctx, time.Duration(w.random.IntN(250))*time.Millisecond)
	}
}

// step does one thing.
func (w *machineWorker) step(ctx context.Context) {
	var living []*machineSubject
	for _, s := range w.subjects {
		if s.created == yes && s.deleted == no {
			living = append(living, s)
		}
	}
	dice := w.random.IntN(100)
	switch {
	case w.policy != yes:
		w.policy = w.make(ctx, "virtualmachinesetresourcepolicies", w.own(), map[string]any{
			"folder": w.own(), "resourcePool": map[string]any{"name": w.own()}, "clusterModuleGroups": []any{"group"}})
	case w.service != yes:
		w.service = w.make(ctx, "virtualmachineservices", w.own(), map[string]any{
			"type": "LoadBalancer", "selector": map[string]any{"worker": w.own()},
			"ports": []any{map[string]any{"name": "http", "protocol": "TCP", "port": int64(80), "targetPort": int64(80)}}})
	case len(living) < 2 || len(living) < 4 && dice < 40:
		w.create(ctx)
	case dice < 75:
		w.change(ctx, living[w.random.IntN(len(living))])
	default:
		w.delete(ctx, living[w.random.IntN(len(living))])
	}
}

// answered notes an answer, and says what it says about whether that came about. What was refused for what it asks is a
// mistake of the test or of the server.
func (w *machineWorker) answered(what, name string, err error) fate {
	w.log.Printf("%s %s: %v", what, name, err)
	w.asked++
	switch {
	case err == nil:
		w.accepted++
		return yes
	case apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err):
		w.t.Errorf("%s %s: %v", what, name, err)
	}
	return maybe
}

// make asks for something until it is answered, as somebody does who applies a manifest.
func (w *machineWorker) make(ctx context.Context, resource, name string, spec map[string]any) fate {
	object := objectOf(resource, name, spec)
	object.SetLabels(map[string]string{"worker": w.own()})
	if w.random.IntN(2) == 0 {
		object.SetAnnotations(map[string]string{"vsphere-cluster-module-group": "group"})
	}
	for first := true; ctx.Err() == nil; first = false {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := w.of(resource).Create(limited, object, metav1.CreateOptions{})
		cancel()
		if !first && apierrors.IsAlreadyExists(err) {
			err = nil // an attempt was accepted, and its answer lost
		}
		if came := w.answered("create", name, err); came == yes || w.t.Failed() {
			return came
		}
		pause(ctx, 200*time.Millisecond)
	}
	return maybe
}

func (w *machineWorker) wish() machineWish {
	return machineWish{class: []string{"best-effort-small", "best-effort-medium"}[w.random.IntN(2)],
		power: []string{"PoweredOn", "PoweredOff"}[w.random.IntN(2)]}
}

func (w *machineWorker) create(ctx context.Context) {
	wish := w.wish()
	s := &machineSubject{name: fmt.Sprintf("m%d-%d", w.number, len(w.subjects)), created: maybe, wishes: []machineWish{wish}}
	w.subjects = append(w.subjects, s)
	more := map[string]any{"className": wish.class, "powerState": wish.power}
	if w.random.IntN(2) == 0 {
		more["reserved"] = map[string]any{"resourcePolicyName": w.own()}
	}
	s.created = w.make(ctx, "virtualmachines", s.name, machineSpec(more))
}

func (w *machineWorker) change(ctx context.Context, s *machineSubject) {
	wish := w.wish()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"className": wish.class, "powerState": wish.power}})
	if err != nil {
		w.t.Error(err)
		return
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err = w.of("virtualmachines").Patch(limited, s.name, types.MergePatchType, patch, metav1.PatchOptions{})
	if w.answered("change", s.name, err) == yes {
		s.wishes = s.wishes[:0]
	}
	s.wishes = append(s.wishes, wish)
}

func (w *machineWorker) delete(ctx context.Context, s *machineSubject) {
	for first := true; ctx.Err() == nil; first = false {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := w.of("virtualmachines").Delete(limited, s.name, metav1.DeleteOptions{})
		cancel()
		if !first && apierrors.IsNotFound(err) {
			err = nil
		}
		if s.deleted = w.answered("delete", s.name, err); s.deleted == yes || w.t.Failed() {
			return
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// settled waits until each machine is as it was accepted, and returns what is not.
func (w *machineWorker) settled() (wrong []string) {
	for _, s := range w.subjects {
		err := again(w.t.Context(), recovery, func(ctx context.Context) error {
			vm, err := w.of("virtualmachines").Get(ctx, s.name, metav1.GetOptions{})
			there := err == nil && vm.GetDeletionTimestamp() == nil
			switch {
			case err != nil && !apierrors.IsNotFound(err):
				return err
			case there && s.deleted == yes:
				return fmt.Errorf("it is there, and its deletion was accepted")
			case err == nil && !there:
				return fmt.Errorf("its deletion has not ended")
			case !there && s.created == yes && s.deleted == no:
				return fmt.Errorf("it is not there, and was accepted")
			case !there:
				return nil
			}
			return s.asWished(vm)
		})
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s (created %d, deleted %d, wishes %v): %v", s.name, s.created, s.deleted,
				s.wishes, err))
		}
	}
	return wrong
}

// asWished says why a machine is not as one of the wishes has it. The size of one that is on may wait.
func (s *machineSubject) asWished(vm *unstructured.Unstructured) error {
	if created := condition(vm, vmopv1.VirtualMachineConditionCreated); created["status"] != "True" {
		return fmt.Errorf("it is not made: %v", created)
	}
	power, _, _ := unstructured.NestedString(vm.Object, "status", "powerState")
	memory, _, _ := unstructured.NestedString(vm.Object, "status", "hardware", "memory", "total")
	size := condition(vm, vmopv1.VirtualMachineClassConfigurationSynced)
	waits := size["status"] == "False" && size["reason"] == "NeedsPowerOff"
	if slices.ContainsFunc(s.wishes, func(wish machineWish) bool {
		return wish.power == power && (memoryOf[wish.class] == memory || waits)
	}) {
		return nil
	}
	return fmt.Errorf("it is %s with %s; its size: %v", power, memory, size)
}

// removed deletes everything, and returns what does not go.
func (w *machineWorker) removed() (wrong []string) {
	there := map[string][]string{"virtualmachineservices": {w.own()}, "virtualmachinesetresourcepolicies": {w.own()}}
	for _, s := range w.subjects {
		there["virtualmachines"] = append(there["virtualmachines"], s.name)
	}
	for _, gone := range []bool{false, true} {
		for _, resource := range slices.Sorted(maps.Keys(there)) {
			for _, name := range there[resource] {
				err := again(w.t.Context(), recovery, func(ctx context.Context) error {
					err := w.of(resource).Delete(ctx, name, metav1.DeleteOptions{})
					if apierrors.IsNotFound(err) || err == nil && !gone {
						return nil
					}
					return fmt.Errorf("it is there: %v", err)
				})
				if err != nil {
					wrong = append(wrong, fmt.Sprintf("delete %s: %v", name, err))
				}
			}
		}
	}
	return wrong
}
