// SPDX-License-Identifier: Apache-2.0

package virtualmachineclass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/controller"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	syncTimeout = 30 * time.Second
	workers     = 2
)

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
	Given      cache.ListerWatcher // the vSphere Namespaces
	Classes    Classes
	Namespaces Namespaces
	Notes      Notes
	Logger     klog.Logger
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	queue := controller.NewQueue("virtualmachineclass", 200*time.Millisecond, time.Minute)
	store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: c.Given,
		ObjectType:    &vspherev1.Namespace{},
		Transform:     keepWhatMatters,
		Handler:       controller.Enqueue(queue, metav1.Object.GetName),
	})
	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	controller.Worker{
		Timeout: syncTimeout,
		Failed: func(key string, err error) {
			c.Logger.Error(err, "Cannot make the virtual machine classes that are given, trying again", "namespace", key)
		},
		Sync: func(ctx context.Context, key string) (time.Duration, error) {
			object, found, err := store.GetByKey(key)
			if err != nil || !found {
				return 0, err
			}
			return 0, c.sync(ctx, object.(*vspherev1.Namespace))
		},
	}.Work(ctx, queue, workers)
	running.Wait()
	return nil
}

// keepWhatMatters keeps of a vSphere Namespace what this controller looks at.
func keepWhatMatters(object any) (any, error) {
	namespace, ok := object.(*vspherev1.Namespace)
	if !ok {
		return object, nil
	}
	return &vspherev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{
			Name: namespace.Name, UID: namespace.UID, ResourceVersion: namespace.ResourceVersion, DeletionTimestamp: namespace.DeletionTimestamp,
		},
		Spec: vspherev1.NamespaceSpec{VirtualMachineClasses: namespace.Spec.VirtualMachineClasses},
	}, nil
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
func (c *Controller) note(ctx context.Context, namespace *vspherev1.Namespace, given, made []string, revision int64) error {
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
