// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/vmware/govmomi/vapi/library"
)

const libraryItemPath = "/rest/com/vmware/content/library/item"

// SampleLibraries makes the content libraries of Sample: images for everybody,
// and those of one team.
func SampleLibraries(ctx context.Context, b *Builder, datastore string) error {
	err := b.Library(ctx, "Platform images", datastore,
		LibraryItem{Name: "ubuntu-24.04", Type: library.ItemTypeOVF, Description: "Ubuntu 24.04 LTS server, cloud-init",
			OS: "ubuntu64Guest", Vendor: "Canonical", Product: "Ubuntu Server", Version: "24.04.3"},
		LibraryItem{Name: "photon-5", Type: library.ItemTypeOVF, Description: "Photon OS 5",
			OS: "vmwarePhoton64Guest", Vendor: "VMware", Product: "Photon OS", Version: "5.0"},
		LibraryItem{Name: "rhel-9-golden", Type: library.ItemTypeVMTX, Description: "Red Hat Enterprise Linux 9, a template",
			Template: &VM{Folder: "Templates", Cluster: "cluster-a", Datastore: datastore, GuestID: "rhel9_64Guest", CPUs: 2,
				MemoryMB: 4096, DisksGB: []int64{30}, Firmware: "efi", HardwareVersion: "vmx-19"}},
		LibraryItem{Name: "debian-12-netinst", Type: library.ItemTypeISO, Description: "Debian 12 network installer"},
	)
	if err != nil {
		return err
	}
	return b.Library(ctx, "Team A images", datastore,
		LibraryItem{Name: "postgres-17", Type: library.ItemTypeOVF, Description: "Ubuntu 24.04 LTS with PostgreSQL 17",
			OS: "ubuntu64Guest", Vendor: "Team A", Product: "PostgreSQL", Version: "17.2"},
		LibraryItem{Name: "build-agent", Type: library.ItemTypeOVF, Description: "Debian 12 with the compilers of team A",
			OS: "debian12_64Guest", Vendor: "Team A", Product: "Build agent", Version: "2026.11"},
	)
}

// libraryItems gives the items of content libraries identifiers that are the
// same at each start, where the simulator rolls dice: images have their names in
// Kubernetes from them. An item that is made anew is another one, as in vCenter.
type libraryItems struct {
	mu   sync.Mutex
	made map[string]bool
}

func createsLibraryItem(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == libraryItemPath && r.URL.RawQuery == ""
}

// create serves a request that makes an item.
func (i *libraryItems) create(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	answer := answers(mux, r)
	var made struct {
		Value string `json:"value"`
	}
	body := answer.Body.Bytes()
	if answer.Code == http.StatusOK && json.Unmarshal(body, &made) == nil {
		endpoint, _ := mux.Handler(r)
		body = bytes.ReplaceAll(body, []byte(made.Value), []byte(i.rename(endpoint, made.Value)))
	}
	pass(w, answer, body)
}

// rename gives a new item, which has no files yet, its identifier and returns
// that. The simulator's types are not exported; their fields are, so that it can
// save and load them.
func (i *libraryItems) rename(endpoint http.Handler, id string) string {
	inLibraries(endpoint, func(content reflect.Value) bool {
		items := content.FieldByName("Item")
		item := items.MapIndex(reflect.ValueOf(id))
		if !item.IsValid() {
			return false
		}
		model := item.Elem().FieldByName("Item").Interface().(*library.Item)
		model.ID = i.next(content.FieldByName("Library").Interface().(*library.Library).Name, model.Name)
		items.SetMapIndex(reflect.ValueOf(model.ID), item)
		items.SetMapIndex(reflect.ValueOf(id), reflect.Value{})
		id = model.ID
		return true
	})
	return id
}

// inLibraries looks at the libraries of the simulator of the REST endpoints, whose types are not exported, until it has
// found what it looks for.
func inLibraries(endpoint http.Handler, found func(content reflect.Value) bool) bool {
	lock := endpoint.(sync.Locker)
	lock.Lock()
	defer lock.Unlock()
	libraries := reflect.ValueOf(endpoint).Elem().FieldByName("Library")
	for _, key := range libraries.MapKeys() {
		if found(libraries.MapIndex(key).Elem()) {
			return true
		}
	}
	return false
}

// next returns an identifier that no item had before.
func (i *libraryItems) next(libraryName, name string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.made == nil {
		i.made = map[string]bool{}
	}
	for n := 0; ; n++ {
		if id := identifier("library", libraryName, name, strconv.Itoa(n)).String(); !i.made[id] {
			i.made[id] = true
			return id
		}
	}
}

// LibraryItemID is the identifier of the first item of that name in the first
// library of that name.
func LibraryItemID(libraryName, name string) string {
	return identifier("library", libraryName, name, "0").String()
}

// libraries serve content libraries.
func (v *VCenter) libraries() http.Handler {
	endpoint, _ := v.service.ServeMux.Handler(httptest.NewRequest(http.MethodGet, "/rest/com/vmware/content/library", nil))
	return endpoint
}

// ChangeLibrary changes what vCenter says of the library of that name, such as when it was synchronised, and says
// whether there is one.
func (v *VCenter) ChangeLibrary(name string, change func(*library.Library)) bool {
	return inLibraries(v.libraries(), func(content reflect.Value) bool {
		model := content.FieldByName("Library").Interface().(*library.Library)
		if model.Name == name {
			change(model)
		}
		return model.Name == name
	})
}

// ChangeLibraryItem changes what vCenter says of an item, such as the version of its contents, and says whether there
// is one.
func (v *VCenter) ChangeLibraryItem(id string, change func(*library.Item)) bool {
	return inLibraries(v.libraries(), func(content reflect.Value) bool {
		item := content.FieldByName("Item").MapIndex(reflect.ValueOf(id))
		if item.IsValid() {
			change(item.Elem().FieldByName("Item").Interface().(*library.Item))
		}
		return item.IsValid()
	})
}

// DownloadSessions is how many sessions there are in which files of items are read.
func (v *VCenter) DownloadSessions() int {
	endpoint := v.libraries()
	lock := endpoint.(sync.Locker)
	lock.Lock()
	defer lock.Unlock()
	return reflect.ValueOf(endpoint).Elem().FieldByName("Download").Len()
}

// RESTSessions is how many sessions the REST endpoints have.
func (v *VCenter) RESTSessions() int {
	v.rest.mu.Lock()
	defer v.rest.mu.Unlock()
	return len(v.rest.ids)
}

// TerminateRESTSessions ends the sessions of the REST endpoints alone, as vCenter
// does with those that nobody uses: a client's next call is answered with 401.
func (v *VCenter) TerminateRESTSessions() { v.rest.end(v.service.ServeMux) }

// RefuseREST makes the REST endpoints answer every request with a status; 0 ends
// that. Nobody looks at a password meanwhile.
func (v *VCenter) RefuseREST(status int) {
	v.rest.mu.Lock()
	defer v.rest.mu.Unlock()
	v.rest.refusal = status
}

// Silence, as a status, is no answer at all: the request hangs for as long as its client has patience.
const Silence = -1

// RefuseRESTOf makes the REST endpoints answer those requests with a status that have a text in their URL, such as an
// identifier; 0 ends that. Other texts are refused as before.
func (v *VCenter) RefuseRESTOf(text string, status int) {
	v.rest.mu.Lock()
	defer v.rest.mu.Unlock()
	refusals := maps.Clone(v.rest.refusals)
	if refusals == nil {
		refusals = map[string]int{}
	}
	refusals[text] = status
	if status == 0 {
		delete(refusals, text)
	}
	v.rest.refusals = refusals
}

// refuses answers a request that is refused.
func (s *restSessions) refuses(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	status, refusals := s.refusal, s.refusals
	s.mu.Unlock()
	for text, of := range refusals {
		if status == 0 && strings.Contains(r.URL.String(), text) {
			status = of
		}
	}
	switch status {
	case 0:
		return false
	case Silence:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	http.Error(w, fmt.Sprintf(`{"messages":[],"status":%d}`, status), status)
	return true
}
