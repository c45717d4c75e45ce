// SPDX-License-Identifier: Apache-2.0

package virtualmachineclass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/controller"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/projected"
)

const (
	syncTimeout = 30 * time.Second
	workers     = 2
)

// Given are the vSphere Namespaces, each by its name; projected.Objects are.
type Given interface {
	Attach(projected.Sink[vspherev1.Namespace]) (detach func())
	Get(name string) *vspherev1.Namespace
}

// Classes makes classes.
type Classes interface {
	// Create says whether it made the class: not when there is one of the name.
	Create(ctx context.Context, class *v1alpha5.VirtualMachineClass) (created bool, err error)
}

// Namespaces knows Kubernetes' Namespaces.
type Namespaces interface {
	// Terminating says whether a Namespace is being deleted, or is not there. It is the truth of this moment.
	Terminating(ctx context.Context, name string) (bool, error)
}

// Notes keeps which classes were made, by the uid of a vSphere Namespace.
type Notes interface {
	// Read returns a note and its revision; 0 is none.
	Read(ctx context.Context, id string) (value []byte, revision int64, err error)
	// Write puts one in place of that of a revision, and a nil value none.
	Write(ctx context.Context, id string, value []byte, revision int64) error
}

// Controller makes the Supervisor's own classes where they are given. Its fields are set before Run.
type Controller struct {
	Given      Given
	Classes    Classes
	Namespaces Namespaces
	Notes      Notes
	Logger     klog.Logger
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	queue := controller.NewQueue("virtualmachineclass", 200*time.Millisecond, time.Minute)
	defer c.Given.Attach(&news{queue: queue, known: map[string]given{}})()
	controller.Worker{
		Timeout: syncTimeout,
		Failed: func(key string, err error) {
			c.Logger.Error(err, "Cannot make the virtual machine classes that are given, trying again", "namespace", key)
		},
		Sync: func(ctx context.Context, key string) (time.Duration, error) {
			namespace := c.Given.Get(key)
			if namespace == nil {
				return 0, nil
			}
			return 0, c.sync(ctx, namespace)
		},
	}.Work(ctx, queue, workers)
	return nil
}

// news queues the vSphere Namespaces in which something is different that matters here: most changes are of their
// usage.
type news struct {
	queue controller.Queue
	known map[string]given // by name
}

// given is what matters of a vSphere Namespace.
type given struct {
	uid     types.UID
	ends    bool
	classes []string
}

// Replace implements projected.Sink.
func (n *news) Replace(all iter.Seq[*vspherev1.Namespace]) {
	known := n.known
	n.known = make(map[string]given, len(known))
	for namespace := range all {
		n.see(namespace, known)
	}
}

// Apply implements projected.Sink.
func (n *news) Apply(changes []projected.Change[vspherev1.Namespace]) {
	for _, change := range changes {
		if change.Object == nil {
			delete(n.known, change.Name)
			continue
		}
		n.see(change.Object, n.known)
	}
}

func (n *news) see(namespace *vspherev1.Namespace, known map[string]given) {
	now := given{namespace.UID, namespace.DeletionTimestamp != nil, namespace.Spec.VirtualMachineClasses}
	before := known[namespace.Name]
	n.known[namespace.Name] = now
	if before.uid != now.uid || before.ends != now.ends || !slices.Equal(before.classes, now.classes) {
		n.queue.Add(namespace.Name)
	}
}

// sync makes what was given and not made since.
func (c *Controller) sync(ctx context.Context, namespace *vspherev1.Namespace) error {
	value, revision, err := c.Notes.Read(ctx, string(namespace.UID))
	if err != nil {
		return fmt.Errorf("read which classes were made in %s: %w", namespace.Name, err)
	}
	var made []string
	if len(value) > 0 {
		if err := json.Unmarshal(value, &made); err != nil {
			return fmt.Errorf("read which classes were made in %s: %w", namespace.Name, err)
		}
	}
	if namespace.DeletionTimestamp != nil {
		return c.note(ctx, namespace, nil, made, revision)
	}
	var given []string // of the Supervisor's own, those that are there or were
	var problem error
	for _, name := range namespace.Spec.VirtualMachineClasses {
		class, own := Supervisor(namespace.Name, name)
		switch {
		case !own:
		case slices.Contains(made, name):
			given = append(given, name)
		default:
			if err := c.make(ctx, class); err != nil {
				problem = errors.Join(problem, err)
				continue
			}
			given = append(given, name)
		}
	}
	slices.Sort(given)
	return errors.Join(problem, c.note(ctx, namespace, given, made, revision))
}

func (c *Controller) make(ctx context.Context, class *v1alpha5.VirtualMachineClass) error {
	terminating, err := c.Namespaces.Terminating(ctx, class.Namespace)
	if err != nil {
		return err
	}
	if terminating {
		return fmt.Errorf("the Namespace %s is not there: %w", class.Namespace, failure.Unavailable)
	}
	created, err := c.Classes.Create(ctx, class)
	if err != nil {
		return fmt.Errorf("make the class %s in %s: %w", class.Name, class.Namespace, err)
	}
	if created {
		c.Logger.Info("Made a virtual machine class that was given", "class", klog.KObj(class))
	}
	return nil
}

// note keeps which classes were made of those that are given: one that is given no longer is made anew the next time.
func (c *Controller) note(ctx context.Context, namespace *vspherev1.Namespace, given, made []string,
	revision int64) error {
	if slices.Equal(given, made) {
		return nil
	}
	var value []byte
	if len(given) > 0 {
		var err error
		if value, err = json.Marshal(given); err != nil {
			return fmt.Errorf("note which classes were made in %s: %w", namespace.Name, err)
		}
	}
	if err := c.Notes.Write(ctx, string(namespace.UID), value, revision); err != nil {
		return fmt.Errorf("note which classes were made in %s: %w", namespace.Name, err)
	}
	return nil
}
