// SPDX-License-Identifier: Apache-2.0

package wirecache

import (
	"sync"
	"unsafe"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// slack is how many entries of objects that are gone a cache may hold before
// it is emptied.
const slack = 4096

// identity says which state of an object some bytes stand for.
//
// A resourceVersion alone does not: a dry run answers with an object that it
// changed and that has the version of the one it came from. But such an object
// is a deep copy, whereas what lists hand out shares its memory with the store;
// so the memory of the finalizers and of the managed fields, one of which every
// object of a live store has, tells them apart.
type identity struct {
	// kind differs where one state is written at several versions, as the
	// metadata in Tables is.
	kind            schema.GroupVersionKind
	resourceVersion string
	finalizers      *string
	managedFields   *metav1.ManagedFieldsEntry
	deletion        *metav1.Time
}

func identify(object metav1.Object) (identity, bool) {
	id := identity{
		resourceVersion: object.GetResourceVersion(),
		finalizers:      unsafe.SliceData(object.GetFinalizers()),
		managedFields:   unsafe.SliceData(object.GetManagedFields()),
		deletion:        object.GetDeletionTimestamp(),
	}
	if typed, ok := object.(runtime.Object); ok {
		id.kind = typed.GetObjectKind().GroupVersionKind()
	}
	return id, id.resourceVersion != "" && object.GetUID() != "" && (id.finalizers != nil || id.managedFields != nil)
}

type entry struct {
	identity identity
	bytes    []byte
}

// cache holds the bytes of each object's last state.
type cache struct {
	lock    sync.RWMutex
	entries map[types.UID]entry // guarded by lock
	most    int                 // guarded by lock; objects in the longest list seen
}

// collect returns the bytes of every object, with encode's for those it does
// not have yet.
func (c *cache) collect(objects []metav1.Object, encode func(int) ([]byte, error)) ([][]byte, error) {
	encoded := make([][]byte, len(objects))
	ids := make([]identity, len(objects))
	var missing []int
	c.lock.RLock()
	for i, object := range objects {
		id, ok := identify(object)
		if !ok {
			missing = append(missing, i)
			continue
		}
		ids[i] = id
		if known, found := c.entries[object.GetUID()]; found && known.identity == id {
			encoded[i] = known.bytes
		} else {
			missing = append(missing, i)
		}
	}
	c.lock.RUnlock()
	if len(missing) == 0 {
		return encoded, nil
	}
	for _, i := range missing {
		bytes, err := encode(i)
		if err != nil {
			return nil, err
		}
		encoded[i] = bytes
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.most = max(c.most, len(objects))
	if c.entries == nil || len(c.entries) > 2*c.most+slack {
		c.entries = make(map[types.UID]entry, len(objects))
	}
	for _, i := range missing {
		if ids[i].resourceVersion != "" {
			c.entries[objects[i].GetUID()] = entry{identity: ids[i], bytes: encoded[i]}
		}
	}
	return encoded, nil
}

// one returns the bytes of an object, with encode's if it does not have them
// yet. What it does not have it keeps only when the object is another state
// than the known one: a copy of the known one, as single reads and dry runs
// hand out, does not push the bytes out that lists need.
func (c *cache) one(object metav1.Object, encode func() ([]byte, error)) ([]byte, error) {
	id, ok := identify(object)
	uid := object.GetUID()
	c.lock.RLock()
	known, found := c.entries[uid]
	c.lock.RUnlock()
	if ok && found && known.identity == id {
		return known.bytes, nil
	}
	bytes, err := encode()
	if err != nil || !ok || found && known.identity.resourceVersion == id.resourceVersion {
		return bytes, err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.entries == nil || len(c.entries) > 2*c.most+4*slack {
		c.entries = map[types.UID]entry{}
	}
	c.entries[uid] = entry{identity: id, bytes: bytes}
	return bytes, nil
}
