// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/openpacific/pacific/cmd/supervisor/process"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/directory"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	// kills is how many faults TestKills makes, so that each kind is among them; KILLS says otherwise.
	kills = 15
	// killWorkers make, change and delete vSphere Namespaces meanwhile.
	killWorkers = 6
	// steady is how long a component has to run for its next death to count as a first one, after which it is back at
	// once. One that dies again and again is given longer and longer pauses: that is not what is tested here.
	steady = 21 * time.Second
	// quickDeaths are those before that, one after the other, which are followed by short pauses still.
	quickDeaths = 2
)

// TestKills makes, changes and deletes vSphere Namespaces while vCenter, etcd and the servers die at random moments,
// another one takes the lead, and a VI admin renames folders, moves machines and takes roles away. It holds what is
// there at the end against what was accepted, and looks that nothing of anybody else's was destroyed, throttled,
// hidden, or shown to others. KILLS=n makes n faults, KILLS_SEED=n those of a run before; else they are the same for a
// day.
func TestKills(t *testing.T) {
	count, seed := number(t, "KILLS", kills), number(t, "KILLS_SEED", seedOfToday())
	fmt.Printf("kills: %d faults, KILLS_SEED=%d\n", count, seed)
	const account, password = "pacific@vsphere.local", "Correct-Horse-8"
	v := vcentertest.Run(t, vcentertest.Options{
		Password: "Correct-Horse-7", Inventory: killInventory, Groups: vcentertest.SampleGroups(),
		Users: append(vcentertest.SampleUsers(), directory.User{Name: account, Password: password}),
	})
	f := newFaultyAs(t, "kills", v, account, password)
	f.up(t)
	defer f.down(t)
	f.ready(t)

	// What was done when is beside the logs of the components.
	file, err := os.Create(f.Dir.Log("kills"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	journal := log.New(file, "", log.Ltime|log.Lmicroseconds)
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	others := newBystanders(t, f, journal)
	running.Go(func() { others.watch(ctx) })
	running.Go(func() { others.poach(ctx) })
	taken := &roles{}
	workers := make([]*killWorker, killWorkers)
	for i := range workers {
		workers[i] = newKillWorker(t, f, journal, taken, i, uint64(seed))
		running.Go(func() { workers[i].run(ctx) })
	}
	k := &killer{
		t: t, f: f, random: rand.New(rand.NewPCG(uint64(seed), 0)), log: journal, faults: faults, made: map[string]int{},
		quick: map[string]int{}, workers: workers, others: others, roles: taken,
	}
	for _, at := range k.random.Perm(len(faults)) {
		k.due = append(k.due, faults[at].name)
	}
	for range count {
		k.fault()
		pause(ctx, time.Duration(k.random.IntN(2500))*time.Millisecond)
	}
	cancel()
	running.Wait()
	took := time.Since(began)

	var subjects []*subject
	var operations [3]int
	for _, w := range workers {
		subjects = append(subjects, w.subjects...)
		operations[0] += w.accepted
		operations[1] += w.refused
		operations[2] += w.deleted
	}
	healed := time.Now()
	c := newKillCheck(t, f, subjects, others)
	wrong, err := c.until(5 * time.Minute)
	fmt.Printf("kills: %v in %.0f s; %d vSphere Namespaces, %d operations accepted (%d deletions), %d not; all is as "+
		"accepted after another %.1f s\n",
		k.made, took.Seconds(), len(subjects), operations[0], operations[2], operations[1], time.Since(healed).Seconds())
	if err != nil {
		t.Fatal(err)
	}
	if len(wrong) > 0 {
		t.Errorf("with KILLS=%d KILLS_SEED=%d, %d things are not as accepted:\n%s", count, seed, len(wrong),
			strings.Join(wrong, "\n"))
	}
}

// seedOfToday is the date, as 20260131: what fails can be tried again, and does not stay the same for ever.
func seedOfToday() int {
	now := time.Now().UTC()
	return (now.Year()*100+int(now.Month()))*100 + now.Day()
}

// number is an environment variable's.
func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s is not a number", variable, text)
	}
	return n
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// killer makes faults at random, and waits after each until what it killed runs again, ready or not.
type killer struct {
	t      *testing.T
	f      *faulty
	random *rand.Rand
	log    *log.Logger
	faults []faultKind
	made   map[string]int
	quick  map[string]int // deaths one soon after the other, by component
	due    []string       // kinds of faults of which there was none yet

	workers []*killWorker
	others  *bystanders
	roles   *roles
}

// faultKind is one thing that may happen, and how often.
type faultKind struct {
	name   string
	weight int
}

// faults are what may happen, each as often as its weight is.
var faults = []faultKind{
	{"vsphere-apiserver", 34}, {"etcd", 16}, {"kube-apiserver", 8}, {"kube-controller-manager", 6},
	{"vCenter away", 14}, {"vCenter restarted", 12}, {"sessions terminated", 10},
	{"another leads", 8}, {"namespaces folder renamed", 12}, {"folder renamed", 12}, {"machine moved", 16},
	{"machine rescued", 8},
	{"role on all taken", 10}, {"role on one taken", 10},
}

// fault makes one: of each kind one first, in some order, and then as often as their weights say.
func (k *killer) fault() {
	k.t.Helper()
	if len(k.due) > 0 {
		name := k.due[0]
		k.due = k.due[1:]
		if k.make(name) {
			return
		}
		k.due = append(k.due, name) // it cannot happen now
	}
	total := 0
	for _, fault := range k.faults {
		total += fault.weight
	}
	// What cannot happen now gives way to what can: sessions can always be terminated.
	for {
		n := k.random.IntN(total)
		for _, fault := range k.faults {
			if n -= fault.weight; n < 0 {
				if k.make(fault.name) {
					return
				}
				break
			}
		}
	}
}

// make makes a fault and notes it, unless it may not happen now.
func (k *killer) make(name string) bool {
	k.t.Helper()
	if !k.happen(name) {
		return false
	}
	k.log.Printf("%s", name)
	k.made[name]++
	return true
}

func (k *killer) happen(name string) bool {
	k.t.Helper()
	switch name {
	case "vCenter away":
		k.f.vcenter.Stop()
		pause(k.t.Context(), time.Duration(100+k.random.IntN(1500))*time.Millisecond)
		fallthrough
	case "vCenter restarted":
		if err := k.f.vcenter.Restart(); err != nil {
			k.t.Fatal(err)
		}
	case "sessions terminated":
		k.f.vcenter.TerminateSessions()
	case "another leads":
		return k.replace("vsphere-apiserver", k.takeTerm)
	case "namespaces folder renamed":
		return k.renameNamespaces()
	case "folder renamed":
		return k.renameFolder()
	case "machine moved":
		return k.move()
	case "machine rescued":
		return k.rescue()
	case "role on all taken":
		return k.takeRole("/DC0/vm/Namespaces")
	case "role on one taken":
		// What is hidden when a process starts is not there for it.
		folder := k.aFolder()
		return folder != quiet && k.takeRole("/DC0/vm/Namespaces/"+folder)
	default:
		return k.kill(name)
	}
	return true
}

func (k *killer) kill(name string) bool {
	k.t.Helper()
	return k.replace(name, func(victim process.Status) bool { return syscall.Kill(victim.PID, syscall.SIGKILL) == nil })
}

// replace has a component end, and waits until its successor runs, ready or not.
func (k *killer) replace(name string, end func(process.Status) bool) bool {
	k.t.Helper()
	victim, err := k.f.find(name)
	if err != nil {
		k.t.Fatal(err)
	}
	quick := 0
	if time.Since(victim.StartedAt) < steady {
		quick = k.quick[name] + 1
	}
	if victim.PID == 0 || victim.State == process.Starting || quick > quickDeaths {
		return false
	}
	if !end(victim) {
		return false
	}
	k.quick[name] = quick
	waittest.Within(k.t, 2*time.Minute, "the next "+name, func(context.Context) error {
		now, err := k.f.find(name)
		if err == nil && (now.PID == 0 || now.PID == victim.PID) {
			err = fmt.Errorf("pid %d", now.PID)
		}
		return err
	})
	return true
}

// find is a component as the Supervisor knows it. The file that says so may be between two states.
func (f *faulty) find(name string) (process.Status, error) {
	status, err := f.Dir.ReadStatus()
	if err != nil {
		return process.Status{}, err
	}
	at := slices.IndexFunc(status.Components, func(s process.Status) bool { return s.Name == name })
	if at < 0 {
		return process.Status{}, fmt.Errorf("the Supervisor has no component %s", name)
	}
	return status.Components[at], nil
}

// again tries until it works, as somebody does who gives nothing up, or until the time is over.
func again(ctx context.Context, within time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return waittest.Poll(ctx, func() error { return f(ctx) })
}
