// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vim25/types"
)

// answers forwards a request and returns what it is answered with.
func answers(next http.Handler, r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	next.ServeHTTP(recorder, r)
	return recorder
}

// pass hands on an answer, with another body.
func pass(w http.ResponseWriter, answer *httptest.ResponseRecorder, body []byte) {
	for key, values := range answer.Header() {
		w.Header()[key] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body)
}

// libraryContent counts what happens to the contents of library items, which the simulator leaves at version 1 of the
// time they were made, and tells where the files are as vCenter does, not where they are on this machine.
type libraryContent struct {
	datastores func() []datastoreURL
}

// serve says whether a request was for it, which it has answered then.
func (c *libraryContent) serve(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, libraryItemPath+"/")
	if !ok {
		return false
	}
	part, id, _ := strings.Cut(rest, "id:")
	switch {
	case part == "storage" || part == "storage/":
		answer := answers(mux, r)
		body := answer.Body.Bytes()
		for _, datastore := range c.datastores() {
			body = bytes.ReplaceAll(body, []byte(datastore.local+"/"), []byte(datastore.shown))
		}
		pass(w, answer, body)
	case part == "update-session/" && r.Method == http.MethodPost && r.URL.Query().Get("~action") == "complete":
		c.complete(mux, w, r, id)
	case part == "" && r.Method == http.MethodPatch:
		answer := answers(mux, r)
		if answer.Code == http.StatusOK {
			changeItem(mux, r, id, func(item *library.Item, _ *[]library.File) {
				item.LastModifiedTime, item.MetadataVersion = types.NewTime(time.Now()), following(item.MetadataVersion)
			})
		}
		pass(w, answer, answer.Body.Bytes())
	default:
		return false
	}
	return true
}

// complete ends an update session itself: the simulator does so in a goroutine, without a lock.
func (c *libraryContent) complete(mux *http.ServeMux, w http.ResponseWriter, r *http.Request, id string) {
	look := r.Clone(r.Context())
	look.Method, look.URL.RawQuery, look.Body = http.MethodGet, "", http.NoBody
	if answer := answers(mux, look); answer.Code != http.StatusOK {
		pass(w, answer, answer.Body.Bytes())
		return
	}
	endpoint, _ := mux.Handler(r)
	session := updateOf(endpoint, id)
	if session == nil {
		http.NotFound(w, r)
		return
	}
	session.pulling.Wait()
	lock := endpoint.(sync.Locker)
	lock.Lock()
	failed := session.State == "ERROR"
	if !failed {
		session.State = "DONE"
	}
	item := session.LibraryItemID
	lock.Unlock()
	if !failed {
		changeItem(mux, r, item, func(item *library.Item, files *[]library.File) {
			item.LastModifiedTime, item.ContentVersion = types.NewTime(time.Now()), following(item.ContentVersion)
			*files = newest(*files)
		})
	}
	w.WriteHeader(http.StatusOK)
}

// update is an update session, with what is still being fetched for it.
type update struct {
	*library.Session
	pulling *sync.WaitGroup
}

// updateOf finds an update session in the simulator of the REST endpoints, whose types are not exported.
func updateOf(endpoint http.Handler, id string) *update {
	lock := endpoint.(sync.Locker)
	lock.Lock()
	defer lock.Unlock()
	found := reflect.ValueOf(endpoint).Elem().FieldByName("Update").MapIndex(reflect.ValueOf(id))
	if !found.IsValid() {
		return nil
	}
	return &update{
		Session: found.FieldByName("Session").Interface().(*library.Session),
		pulling: found.FieldByName("WaitGroup").Interface().(*sync.WaitGroup),
	}
}

// changeItem changes an item and its files in place.
func changeItem(mux *http.ServeMux, r *http.Request, id string, change func(*library.Item, *[]library.File)) {
	endpoint, _ := mux.Handler(r)
	inLibraries(endpoint, func(content reflect.Value) bool {
		item := content.FieldByName("Item").MapIndex(reflect.ValueOf(id))
		if item.IsValid() {
			change(item.Elem().FieldByName("Item").Interface().(*library.Item),
				item.Elem().FieldByName("File").Addr().Interface().(*[]library.File))
		}
		return item.IsValid()
	})
}

// newest keeps of the files of one name the one that came last, which is a later version of it.
func newest(files []library.File) []library.File {
	var kept []library.File
	at := map[string]int{}
	for _, file := range files {
		n, known := at[file.Name]
		if !known {
			at[file.Name] = len(kept)
			kept = append(kept, file)
			continue
		}
		file.Version = following(kept[n].Version)
		kept[n] = file
	}
	return kept
}

// following is the next version.
func following(version string) string {
	n, _ := strconv.Atoi(version)
	return strconv.Itoa(n + 1)
}

// datastoreURL is where a datastore is on this machine, and what vCenter calls that.
type datastoreURL struct{ local, shown string }

// shownURL is how vCenter names a datastore's place.
func shownURL(datastore types.ManagedObjectReference) string {
	id := identifier("datastore", datastore.Value).String()
	return "ds:///vmfs/volumes/" + id[:8] + "-" + id[24:32] + "/"
}

// datastores are the places of all of them.
func (v *VCenter) datastores() (urls []datastoreURL) {
	ctx := v.inProcess()
	for _, entity := range ctx.Map.All("Datastore") {
		datastore := entity.(*simulator.Datastore)
		ctx.WithLock(datastore, func() {
			urls = append(urls, datastoreURL{local: path.Clean(datastore.Info.GetDatastoreInfo().Url),
				shown: shownURL(datastore.Self)})
		})
	}
	return urls
}

// showURL has a datastore's properties name its place as vCenter does. They are copies.
func showURL(datastore types.ManagedObjectReference, property *types.DynamicProperty) {
	switch value := property.Val.(type) {
	case string:
		if property.Name == "summary.url" || property.Name == "info.url" {
			property.Val = shownURL(datastore)
		}
	case types.DatastoreSummary:
		value.Url = shownURL(datastore)
		property.Val = value
	case types.LocalDatastoreInfo:
		value.Url = shownURL(datastore)
		property.Val = value
	case types.NasDatastoreInfo:
		value.Url = shownURL(datastore)
		property.Val = value
	}
}
