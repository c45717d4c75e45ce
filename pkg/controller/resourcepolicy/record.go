// SPDX-License-Identifier: Apache-2.0

package resourcepolicy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/facts"
)

// recordVersion is the one version of records there is.
const recordVersion = 1

// Document is a record as it is kept, and the revision that tells one state of it from every other one.
type Document struct {
	Value    []byte
	Revision int64
}

// Documents keeps the records, by namespace. Errors have a failure kind.
type Documents interface {
	List(ctx context.Context) (map[string]Document, error)
	// Put stores a document in place of the one of that revision, 0 for none, and returns the new one.
	Put(ctx context.Context, id string, value []byte, revision int64) (int64, error)
	// Delete removes the document of that revision. That there is none is not an error.
	Delete(ctx context.Context, id string, revision int64) error
}

// record is what Pacific has made, or is about to make, for the policies of a namespace.
type record struct {
	Version int      `json:"version"`
	Things  []thing  `json:"things,omitempty"`
	Modules []module `json:"modules,omitempty"`

	revision int64
}

// thing is a folder or a resource pool. What it lies in says which.
type thing struct {
	Parent facts.ID `json:"parent"`
	Name   string   `json:"name"`
	// ID is zero while it is being made: it may be there, and nobody has written down as what.
	ID facts.ID `json:"id,omitzero"`
	// CPU, in MHz, and Memory, in MiB, are what is kept for a pool since it was made.
	CPU    int64 `json:"cpu,omitempty"`
	Memory int64 `json:"memory,omitempty"`
}

// place is where a thing is to be, whatever it is.
func (t thing) place() thing { return thing{Parent: t.Parent, Name: t.Name} }

// is says whether a thing is what has that name in that parent.
func (t thing) is(parent facts.ID, name string) bool { return t.Parent == parent && t.Name == name }

// module is a cluster module.
type module struct {
	Policy  types.UID `json:"policy"`
	Group   string    `json:"group"`
	Cluster facts.ID  `json:"cluster"`
	// ID is empty while it is being made. Before are the modules that its cluster had then.
	ID     string   `json:"id,omitempty"`
	Before []string `json:"before,omitempty"`
}

// is says whether a module is the one of a policy's group in a cluster.
func (m module) is(policy types.UID, group string, cluster facts.ID) bool {
	return m.Policy == policy && m.Group == group && m.Cluster == cluster
}

func (r *record) empty() bool { return len(r.Things)+len(r.Modules) == 0 }

func (r *record) thing(parent facts.ID, name string) *thing {
	if i := slices.IndexFunc(r.Things, func(t thing) bool { return t.is(parent, name) }); i >= 0 {
		return &r.Things[i]
	}
	return nil
}

// set puts a thing in place of the one of its name and parent.
func (r *record) set(now thing) {
	r.drop(now)
	r.Things = append(r.Things, now)
}

func (r *record) drop(gone thing) {
	r.Things = slices.DeleteFunc(r.Things, func(t thing) bool { return t.is(gone.Parent, gone.Name) })
}

func (r *record) module(policy types.UID, group string, cluster facts.ID) *module {
	is := func(m module) bool { return m.is(policy, group, cluster) }
	if i := slices.IndexFunc(r.Modules, is); i >= 0 {
		return &r.Modules[i]
	}
	return nil
}

func (r *record) setModule(now module) {
	r.dropModule(now)
	r.Modules = append(r.Modules, now)
}

func (r *record) dropModule(gone module) {
	r.Modules = slices.DeleteFunc(r.Modules, func(m module) bool { return m.is(gone.Policy, gone.Group, gone.Cluster) })
}

// records reads all records, by namespace.
func (c *Controller) records(ctx context.Context) (map[string]*record, error) {
	kept, err := c.Documents.List(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*record, len(kept))
	for namespace, document := range kept {
		read := &record{}
		if err := json.Unmarshal(document.Value, read); err != nil {
			return nil, fmt.Errorf("read the record of what resource policies have in namespace %q: %w", namespace, err)
		}
		if read.Version != recordVersion {
			return nil, fmt.Errorf("the record of what resource policies have in namespace %q has version %d, and this "+
				"program knows %d alone", namespace, read.Version, recordVersion)
		}
		read.revision = document.Revision
		all[namespace] = read
	}
	return all, nil
}

// write keeps a record, and none that is empty.
func (c *Controller) write(ctx context.Context, namespace string, now *record) (err error) {
	if now.empty() {
		if now.revision != 0 {
			err = c.Documents.Delete(ctx, namespace, now.revision)
		}
		if err == nil {
			now.revision = 0
		}
		return err
	}
	now.Version = recordVersion
	value, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("write the record of what resource policies have in namespace %q: %w", namespace, err)
	}
	revision, err := c.Documents.Put(ctx, namespace, value, now.revision)
	if err == nil {
		now.revision = revision
	}
	return err
}
