// SPDX-License-Identifier: Apache-2.0

package kindtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

// list is a list as a client reads it.
type list struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []map[string]any `json:"items"`
}

func (c *checked[T, L]) list(path string) list {
	c.Helper()
	got := c.server.Do("GET", path, nil)
	if got.Code != http.StatusOK {
		c.Fatalf("list %s: %d %s", path, got.Code, got.Body)
	}
	return Decode[list](c, got)
}

// keyOf is namespace/name of an object.
func keyOf(object map[string]any) string {
	u := unstructured.Unstructured{Object: object}
	return u.GetNamespace() + "/" + u.GetName()
}

func keysOf(items []map[string]any) []string {
	keys := []string{}
	for _, item := range items {
		keys = append(keys, keyOf(item))
	}
	return keys
}

// events are those of a watch, as they are sent.
type events struct {
	body    io.ReadCloser
	decoder *json.Decoder
}

type event struct {
	Type   watch.EventType `json:"type"`
	Object map[string]any  `json:"object"`
}

func (c *checked[T, L]) watch(path string, parameters string) *events {
	c.Helper()
	response := c.server.Send("GET", path+"?watch=true&"+parameters, nil)
	c.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		c.Fatalf("watch %s: %d %s", path, response.StatusCode, body)
	}
	return &events{body: response.Body, decoder: json.NewDecoder(bufio.NewReader(response.Body))}
}

// next is the next event, within ten seconds.
func (c *checked[T, L]) next(from *events) event {
	c.Helper()
	timer := time.AfterFunc(10*time.Second, func() { _ = from.body.Close() })
	defer timer.Stop()
	var next event
	if err := from.decoder.Decode(&next); err != nil {
		if errors.Is(err, context.Canceled) {
			err = errors.New("no event within 10 s")
		}
		c.Fatalf("the next event: %v", err)
	}
	return next
}

// readsAgree holds get, list and the initial events of a watch to one another, at every version.
func (c *checked[T, L]) readsAgree() {
	c.fill("one", "two", "three")
	for _, version := range c.kind.Versions {
		for _, namespace := range append(c.namespaces(), "") {
			path := c.pathAt(version.Version, namespace, "")
			all := c.list(path)
			want := map[string]map[string]any{}
			for _, item := range all.Items {
				got := c.server.Do("GET", c.pathAt(version.Version, fmt.Sprint(metadata(item)["namespace"]),
					fmt.Sprint(metadata(item)["name"])), nil)
				if !c.kind.Namespaced {
					got = c.server.Do("GET", c.pathAt(version.Version, "", fmt.Sprint(metadata(item)["name"])), nil)
				}
				one := Decode[map[string]any](c, got)
				if one["kind"] == nil || one["apiVersion"] != version.String() {
					c.Errorf("%s says that it is a %v of %v", keyOf(item), one["kind"], one["apiVersion"])
				}
				want[keyOf(item)] = one
				alone := map[string]any{}
				for key, value := range one {
					if key != "kind" && key != "apiVersion" {
						alone[key] = value
					}
				}
				delete(item, "kind")
				delete(item, "apiVersion")
				if diff := cmp.Diff(alone, item); diff != "" {
					c.Errorf("%s at %s, alone and in a list (-get +list):\n%s", keyOf(item), version.Version, diff)
				}
			}
			if diff := cmp.Diff(want, c.initial(path)); diff != "" {
				c.Errorf("%s, by get and by watch (-get +watch):\n%s", path, diff)
			}
		}
	}
}

func metadata(object map[string]any) map[string]any {
	m, _ := object["metadata"].(map[string]any)
	return m
}

// initial are the objects that a watch begins with.
func (c *checked[T, L]) initial(path string) map[string]map[string]any {
	c.Helper()
	from := c.watch(path, "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan")
	objects := map[string]map[string]any{}
	for {
		switch next := c.next(from); next.Type {
		case watch.Added:
			objects[keyOf(next.Object)] = next.Object
		case watch.Bookmark:
			return objects
		default:
			c.Fatalf("among the initial events: %v", next)
		}
	}
}

// mediaTypes asks for each media type: what is offered is spoken, and protobuf, which the types cannot speak, is not.
func (c *checked[T, L]) mediaTypes() {
	c.fill("one")
	for accept, want := range map[string]int{
		"application/json": 200, "application/yaml": 200, "application/vnd.kubernetes.protobuf": 406,
		"application/vnd.kubernetes.protobuf, application/json":            200,
		"application/json;as=Table;g=meta.k8s.io;v=v1":                     200,
		"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1": 200,
	} {
		if got := c.server.Do("GET", c.path("", ""), nil, "Accept", accept); got.Code != want || want == 200 &&
			len(got.Body) == 0 {
			c.Errorf("%s: %d %s, want %d", accept, got.Code, got.Body, want)
		}
	}
}

// tables have a row for each object, a cell for each column, and the name first.
func (c *checked[T, L]) tables() {
	c.fill("one", "two")
	for _, version := range c.kind.Versions {
		path := c.pathAt(version.Version, "", "")
		got := c.server.Do("GET", path, nil, "Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
		table := Decode[metav1.Table](c, got)
		items := c.list(path).Items
		if got.Code != http.StatusOK || len(table.Rows) != len(items) || len(table.ColumnDefinitions) != len(c.kind.Columns) {
			c.Fatalf("%d %s: %d rows of %d columns for %d objects", got.Code, got.Body, len(table.Rows),
				len(table.ColumnDefinitions), len(items))
		}
		for i, row := range table.Rows {
			if len(row.Cells) != len(table.ColumnDefinitions) || row.Cells[0] != metadata(items[i])["name"] {
				c.Errorf("row %d of %s is %v, and the object is %s", i, path, row.Cells, keyOf(items[i]))
			}
		}
		if table.ColumnDefinitions[0].Name != "Name" || table.ColumnDefinitions[0].Format != "name" {
			c.Errorf("the first column is %v", table.ColumnDefinitions[0])
		}
	}
}

// fields select what they say, and others are refused.
func (c *checked[T, L]) fields() {
	c.fill("one", "two", "three")
	selected := func(name, value string) []string {
		return keysOf(c.list(c.path("", "") + "?fieldSelector=" + url.QueryEscape(name+"="+value)).Items)
	}
	for _, item := range c.list(c.path("", "")).Items {
		name := fmt.Sprint(metadata(item)["name"])
		want := []string{}
		for _, namespace := range c.namespaces() {
			want = append(want, namespace+"/"+name)
		}
		if diff := cmp.Diff(want, selected("metadata.name", name)); diff != "" {
			c.Errorf("by name (-want +got):\n%s", diff)
		}
	}
	objects, err := c.served.Inside().List(c.Context(), "")
	if err != nil {
		c.Fatal(err)
	}
	for _, field := range c.kind.Fields {
		byValue := map[string][]string{}
		for _, object := range objects {
			accessor := any(object).(metav1.Object)
			byValue[field.Value(object)] = append(byValue[field.Value(object)], accessor.GetNamespace()+"/"+accessor.GetName())
		}
		byValue["nothing has this"] = []string{}
		for value, want := range byValue {
			if diff := cmp.Diff(want, selected(field.Name, value)); diff != "" {
				c.Errorf("%s=%s (-want +got):\n%s", field.Name, value, diff)
			}
		}
	}
	if got := c.server.Do("GET", c.path("", "")+"?fieldSelector=spec.nonsense%3Dx",
		nil); got.Code != http.StatusBadRequest {
		c.Errorf("an unknown field: %d %s", got.Code, got.Body)
	}
}

// chunks of a list are of the moment at which it began.
func (c *checked[T, L]) chunks() {
	c.fill("a", "b", "c", "d", "e")
	path := c.path("", "")
	whole := c.list(path)
	var got []map[string]any
	page := c.list(path + "?limit=2")
	version := page.ResourceVersion
	for i := 0; ; i++ {
		got = append(got, page.Items...)
		if page.ResourceVersion != version {
			c.Errorf("chunk %d is of version %s, and the first of %s", i, page.ResourceVersion, version)
		}
		if page.Continue == "" {
			break
		}
		// Meanwhile one goes, one comes and one changes, in front of the next chunk and behind it.
		namespace := c.namespaces()[0]
		switch i {
		case 0:
			c.remove(namespace, "a")
			c.remove(namespace, "e")
			c.put(c.Object(namespace, "aa"))
			c.put(c.Object(namespace, "dd"))
			c.touch(namespace, "d", "meanwhile")
		}
		page = c.list(path + "?limit=2&continue=" + url.QueryEscape(page.Continue))
	}
	if diff := cmp.Diff(whole.Items, got); diff != "" {
		c.Errorf("in chunks (-whole +chunks):\n%s", diff)
	}
}

// goesOn watches from the version of a list: nothing is lost and nothing comes twice.
func (c *checked[T, L]) goesOn() {
	c.fill("one", "two")
	namespace := c.namespaces()[0]
	version := c.list(c.path("", "")).ResourceVersion
	c.touch(namespace, "one", "1")
	c.remove(namespace, "two")
	c.put(c.Object(namespace, "three"))
	from := c.watch(c.path("", ""), "resourceVersion="+version)
	want := []string{"MODIFIED one", "DELETED two", "ADDED three"}
	if c.Objects != nil && c.kind.Finalizer != "" {
		want = slices.Insert(want, 1, "MODIFIED two") // by which its controller knows
	}
	var got []string
	last := ""
	for range want {
		next := c.next(from)
		got = append(got, fmt.Sprintf("%s %s", next.Type, metadata(next.Object)["name"]))
		last = fmt.Sprint(metadata(next.Object)["resourceVersion"])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.Errorf("events (-want +got):\n%s", diff)
	}
	c.touch(namespace, "three", "2")
	if next := c.next(c.watch(c.path("", ""), "resourceVersion="+last)); next.Type != watch.Modified ||
		metadata(next.Object)["name"] != "three" {
		c.Errorf("after the last event comes %v", next)
	}
}
