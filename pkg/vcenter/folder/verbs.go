// SPDX-License-Identifier: Apache-2.0

package folder

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter"
)

type reference = types.ManagedObjectReference

// Session carries out calls that read; vcenter.Session does. Errors come with their failure kind.
type Session interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
}

// Writer carries out calls that act; vcenter.Writer does. Errors come with their failure kind.
type Writer interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
	RunTask(ctx context.Context, operation string,
		start func(context.Context, *vim25.Client) (task reference, err error)) (*types.TaskInfo, error)
}

// Verbs act on one folder each, or tell of it. Its fields are set before use. Errors have a failure kind: NotFound when
// the folder is not in vCenter any more, that of still's error when it refused, Unavailable when nothing may be changed
// now.
type Verbs struct {
	Session Session
	Writer  Writer
}

// Create makes a folder in another. The error's kind is failure.AlreadyExists when that has something of the name.
func (v *Verbs) Create(ctx context.Context, parent facts.ID, name string) (id facts.ID, err error) {
	operation := fmt.Sprintf("create folder %q in %s", name, parent.Value)
	err = v.Writer.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		this, err := vcenter.Refer(client, parent)
		if err != nil {
			return err
		}
		response, err := methods.CreateFolder(ctx, client, &types.CreateFolder{This: this, Name: name})
		if err != nil {
			return err
		}
		id = vcenter.Identify(client, response.Returnval)
		return nil
	})
	return id, err
}

// Move puts a folder with all that lies in it into another, if still says directly before that it is to: its error ends
// the act, and is what comes of it.
func (v *Verbs) Move(ctx context.Context, id, into facts.ID, still func(now facts.Lineage) error) error {
	operation := fmt.Sprintf("move folder %s into %s", id.Value, into.Value)
	_, err := v.Writer.RunTask(ctx, operation, func(ctx context.Context, client *vim25.Client) (reference, error) {
		now, err := lineage(ctx, client, id)
		if err != nil {
			return reference{}, err
		}
		if err := still(now); err != nil {
			return reference{}, err
		}
		target, err := vcenter.Refer(client, into)
		if err != nil {
			return reference{}, err
		}
		response, err := methods.MoveIntoFolder_Task(ctx, client, &types.MoveIntoFolder_Task{
			This: target, List: []reference{{Type: id.Type, Value: id.Value}},
		})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	})
	return err
}

// Destroy takes a folder away, if still says directly before that it is to: its error ends the act, and is what comes
// of it. Virtual machines that come into the folder in between are unregistered, and keep their files.
func (v *Verbs) Destroy(ctx context.Context, id facts.ID, still func(now facts.Container) error) error {
	operation := "destroy folder " + id.Value
	_, err := v.Writer.RunTask(ctx, operation, func(ctx context.Context, client *vim25.Client) (reference, error) {
		this, err := vcenter.Refer(client, id)
		if err != nil {
			return reference{}, err
		}
		now, err := contents(ctx, client, this)
		if err != nil {
			return reference{}, err
		}
		if err := still(now); err != nil {
			return reference{}, err
		}
		// Not Destroy_Task, which would delete the files of what has just come in.
		response, err := methods.UnregisterAndDestroy_Task(ctx, client, &types.UnregisterAndDestroy_Task{This: this})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	})
	return err
}
