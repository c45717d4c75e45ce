// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
)

// beforeFirstApply is the manager under which server-side apply books everything that it finds when it first meets an
// object. It stands for nobody who asked for a value.
const beforeFirstApply = "before-first-apply"

// declare gives the fields of the spec that count as declared after a write: those that were before, that the write
// changed, or that a manager has said to own, with the value that is desired now. A field that the write empties is
// declared no longer. Fields are told apart at the top of the spec.
func declare(before vmopv1.VirtualMachineSpec, current, desired *vmopv1.VirtualMachine) (vmopv1.VirtualMachineSpec, error) {
	owned, err := ownedSpecFields(desired.ManagedFields)
	if err != nil {
		return vmopv1.VirtualMachineSpec{}, err
	}
	var result vmopv1.VirtualMachineSpec
	was, live, want := reflect.ValueOf(before), reflect.ValueOf(current.Spec), reflect.ValueOf(desired.Spec)
	to := reflect.ValueOf(&result).Elem()
	for i := range want.NumField() {
		field := want.Field(i)
		if field.IsZero() {
			continue
		}
		name, _, _ := strings.Cut(want.Type().Field(i).Tag.Get("json"), ",")
		if !was.Field(i).IsZero() || owned[name] || !equality.Semantic.DeepEqual(live.Field(i).Interface(), field.Interface()) {
			to.Field(i).Set(field)
		}
	}
	return result, nil
}

// ownedSpecFields names the fields directly below spec that some manager owns in whole or in part, as the hub calls
// them.
func ownedSpecFields(entries []metav1.ManagedFieldsEntry) (map[string]bool, error) {
	owned := map[string]bool{}
	for _, entry := range entries {
		if entry.FieldsV1 == nil || entry.Subresource != "" || entry.Manager == beforeFirstApply {
			continue
		}
		var fields struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if err := json.NewDecoder(entry.FieldsV1.GetRawReader()).Decode(&fields); err != nil {
			return nil, fmt.Errorf("parse managedFields of %q: %w", entry.Manager, err)
		}
		for name := range fields.Spec {
			if field, found := strings.CutPrefix(name, "f:"); found {
				owned[vmoperator.SpecField(entry.APIVersion, field)] = true
			}
		}
	}
	return owned, nil
}

// record makes the metadata that a write from current to desired leaves, without its sequence. changed is false when
// that is what the machine has.
func record(state *State, current, desired *vmopv1.VirtualMachine) (next *Metadata, changed bool, err error) {
	before := state.Metadata
	if before == nil {
		before = &Metadata{Head: facts.Head{UID: state.InstanceUUID}, Body: Body{Generation: 1}}
		before.serve(state, current)
	}
	spec, err := declare(before.Spec, current, desired)
	if err != nil {
		return nil, false, err
	}
	head := facts.Head{UID: state.InstanceUUID, Sequence: before.Sequence, Created: before.Created, Restart: before.Restart,
		Build: before.Build, Origin: before.Origin}
	next = &Metadata{Head: head, Body: Body{
		Generation:                 max(1, desired.Generation),
		Labels:                     usersLabels(desired.Labels, before.Labels, current.Status.Zone),
		Annotations:                desired.Annotations,
		Finalizers:                 othersFinalizers(desired.Finalizers),
		OwnerReferences:            desired.OwnerReferences,
		ManagedFields:              desired.ManagedFields,
		DeletionGracePeriodSeconds: desired.DeletionGracePeriodSeconds,
		Spec:                       spec,
	}}
	if spec.ClassName != "" {
		next.Size = before.Size
	}
	if spec.Hardware != nil {
		next.Drives = before.Drives
	}
	if spec.Network != nil {
		next.Cards, next.Untold = before.Cards, before.Untold
	}
	if deletion := desired.DeletionTimestamp; deletion != nil {
		next.Deletion = deletion.UTC().Truncate(time.Second)
	}
	next.serve(state, current)
	next.repeat()
	changed = !before.Head.Equal(next.Head) || !equality.Semantic.DeepEqual(before.Body, next.Body)
	next.Sequence = max(before.Sequence, state.Sequence) + 1
	return next, changed, nil
}

// made is the metadata of a machine that Pacific makes: all of its spec is declared.
func made(installation string, shell facts.Shell, vm *vmopv1.VirtualMachine) *Metadata {
	m := &Metadata{
		Head: facts.Head{
			Installation: installation, UID: string(vm.UID), Sequence: 1, Created: true,
			Namespace: vm.Namespace, Name: vm.Name, Folder: shell.Home, Origin: shell.Home,
		},
		Body: Body{
			Generation: 1, Labels: vm.Labels, Annotations: vm.Annotations, Finalizers: othersFinalizers(vm.Finalizers),
			OwnerReferences: vm.OwnerReferences, ManagedFields: vm.ManagedFields, Spec: vm.Spec, Size: &shell.Size, Drives: shell.Drives,
		},
	}
	if shell.Cards != nil {
		m.Cards = &shell.Cards
	}
	m.repeat()
	return m
}

// othersFinalizers leaves out the one that every machine has.
func othersFinalizers(finalizers []string) []string {
	return slices.DeleteFunc(slices.Clone(finalizers), func(f string) bool { return f == vmoperator.MachineFinalizer })
}

// serve notes who writes, and as what the machine is served.
func (m *Metadata) serve(state *State, current *vmopv1.VirtualMachine) {
	m.Installation, m.Folder = state.Installation, state.Namespace()
	m.Namespace, m.Name = current.Namespace, current.Name
}

// usersLabels drops what the server tells by labels: who paused the machine, and its zone where it is the one that the
// projection adds, so that it goes on following the machine.
func usersLabels(labels, before map[string]string, zone string) map[string]string {
	_, paused := labels[vmopv1.PausedVMLabelKey]
	value, zoned := labels[ZoneLabel]
	_, recorded := before[ZoneLabel]
	zoned = zoned && !recorded && value == zone
	if !paused && !zoned {
		return labels
	}
	rest := maps.Clone(labels)
	delete(rest, vmopv1.PausedVMLabelKey)
	if zoned {
		delete(rest, ZoneLabel)
	}
	return rest
}
