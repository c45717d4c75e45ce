// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"sync"

	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vim25/types"
)

// libraryMemory remembers content libraries and tags. The simulator of the REST endpoints exports the fields of its
// types, and not the types.
type libraryMemory struct {
	mux   *http.ServeMux
	items *libraryItems
	last  map[string]json.RawMessage // items, as they were remembered
}

// libraryState is what is remembered of it.
type libraryState struct {
	// Library has, by identifier, what there is of a library, with its items below Item.
	Library map[string]map[string]json.RawMessage `json:"library"`
	Others  map[string]json.RawMessage            `json:"others"`
	// Tagged are the objects of each tag.
	Tagged map[string][]types.ManagedObjectReference `json:"tagged"`
	// Made are the identifiers that items have had.
	Made []string `json:"made"`
}

// libraryFields are those of the simulator that are remembered as they are.
var libraryFields = []string{"Category", "Tag", "Policies", "Trust"}

func (m *libraryMemory) endpoint() (value reflect.Value, lock sync.Locker) {
	endpoint, _ := m.mux.Handler(httptest.NewRequest(http.MethodGet, libraryItemPath, nil))
	return reflect.ValueOf(endpoint).Elem(), endpoint.(sync.Locker)
}

// Remember implements memory.Part. An item that is being written stays as it was until the session is completed.
func (m *libraryMemory) Remember() ([]byte, error) {
	state := libraryState{Others: map[string]json.RawMessage{}, Tagged: map[string][]types.ManagedObjectReference{}}
	m.items.mu.Lock()
	state.Made = slices.Sorted(maps.Keys(m.items.made))
	m.items.mu.Unlock()
	value, lock := m.endpoint()
	lock.Lock()
	defer lock.Unlock()
	for _, name := range libraryFields {
		text, err := json.Marshal(value.FieldByName(name).Interface())
		if err != nil {
			return nil, fmt.Errorf("write content libraries: %s: %w", name, err)
		}
		state.Others[name] = text
	}
	text, err := json.Marshal(value.FieldByName("Library").Interface())
	if err == nil {
		err = json.Unmarshal(text, &state.Library)
	}
	if err == nil {
		err = m.settled(state.Library, value)
	}
	if err != nil {
		return nil, fmt.Errorf("write content libraries: %w", err)
	}
	for tags := value.FieldByName("Association").MapRange(); tags.Next(); {
		refs := []types.ManagedObjectReference{}
		for _, object := range tags.Value().MapKeys() {
			refs = append(refs, types.ManagedObjectReference{Type: object.FieldByName("Type").String(),
				Value: object.FieldByName("Value").String()})
		}
		slices.SortFunc(refs, func(a, b types.ManagedObjectReference) int {
			return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
		})
		state.Tagged[tags.Key().String()] = refs
	}
	return json.Marshal(state)
}

// settled puts those items back to what they were that sessions are writing.
func (m *libraryMemory) settled(libraries map[string]map[string]json.RawMessage, value reflect.Value) error {
	written := map[string]bool{}
	for sessions := value.FieldByName("Update").MapRange(); sessions.Next(); {
		session := sessions.Value().FieldByName("Session").Interface().(*library.Session)
		if session.State == "ACTIVE" {
			written[session.LibraryItemID] = true
		}
	}
	all := map[string]json.RawMessage{}
	for _, content := range libraries {
		var items map[string]json.RawMessage
		if err := json.Unmarshal(content["Item"], &items); err != nil {
			return err
		}
		for id, item := range items {
			if before, known := m.last[id]; written[id] && known {
				items[id] = before
			} else if written[id] {
				var fields map[string]json.RawMessage
				if err := json.Unmarshal(item, &fields); err != nil {
					return err
				}
				delete(fields, "File")
				var err error
				if items[id], err = json.Marshal(fields); err != nil {
					return err
				}
			}
			all[id] = items[id]
		}
		text, err := json.Marshal(items)
		if err != nil {
			return err
		}
		content["Item"] = text
	}
	m.last = all
	return nil
}

// Recall implements memory.Part.
func (m *libraryMemory) Recall(kept []byte) error {
	var state libraryState
	if err := json.Unmarshal(kept, &state); err != nil {
		return fmt.Errorf("read content libraries: %w", err)
	}
	m.items.mu.Lock()
	m.items.made = map[string]bool{}
	for _, id := range state.Made {
		m.items.made[id] = true
	}
	m.items.mu.Unlock()
	value, lock := m.endpoint()
	lock.Lock()
	defer lock.Unlock()
	text, err := json.Marshal(state.Library)
	if err == nil {
		err = json.Unmarshal(text, value.FieldByName("Library").Addr().Interface())
	}
	for _, name := range libraryFields {
		if err == nil {
			err = json.Unmarshal(state.Others[name], value.FieldByName(name).Addr().Interface())
		}
	}
	if err != nil {
		return fmt.Errorf("read content libraries: %w", err)
	}
	tags := value.FieldByName("Association")
	for tag, refs := range state.Tagged {
		objects := reflect.MakeMap(tags.Type().Elem())
		for _, ref := range refs {
			object := reflect.New(tags.Type().Elem().Key()).Elem()
			object.FieldByName("Type").SetString(ref.Type)
			object.FieldByName("Value").SetString(ref.Value)
			objects.SetMapIndex(object, reflect.ValueOf(true))
		}
		tags.SetMapIndex(reflect.ValueOf(tag), objects)
	}
	return nil
}
