// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Asked wraps an update so that whoever asks for a value owns it, also where it is the value already. The API machinery
// gives an update what it changes, and a value that an object has from vCenter would go on belonging to nobody: it
// would be read from vCenter, though somebody said what it is to be. What is asked for is
//
//   - what the body of a patch gives a value below spec, whatever that is now; a JSON patch's tests ask for nothing;
//   - what the manifest of a client-side apply names, when the annotation that keeps it changes.
//
// What a server-side apply names belongs to its manager already. A PUT gives all values, most of them as they were
// read, so that only what it changes is asked for.
type Asked struct {
	rest.UpdatedObjectInfo
	// Group is the API group of the object, Manager the field manager that the request names, if any.
	Group, Manager string
	Clock          clock.PassiveClock
}

// UpdatedObject gives the manager of the request what it asks for.
func (a Asked) UpdatedObject(ctx context.Context, old runtime.Object) (runtime.Object, error) {
	updated, err := a.UpdatedObjectInfo.UpdatedObject(ctx, old)
	if err != nil {
		return nil, err
	}
	request, found := ctx.Value(requestKey{}).(*noted)
	if !found || request.kind == types.ApplyYAMLPatchType || request.kind == types.ApplyCBORPatchType {
		return updated, nil
	}
	before, err := meta.Accessor(old)
	if err != nil {
		return nil, fmt.Errorf("update a %T: %w", old, err)
	}
	after, err := meta.Accessor(updated)
	if err != nil {
		return nil, fmt.Errorf("update a %T: %w", updated, err)
	}
	if before.GetUID() == "" || before.GetUID() != after.GetUID() {
		return updated, nil
	}
	manager := a.Manager
	if manager == "" {
		manager = managerOf(request.agent)
	}
	named, err := request.named()
	if err != nil {
		return nil, fmt.Errorf("read what a patch asks for: %w", err)
	}
	a.own(after, manager, request.version, named)
	if applied := after.GetAnnotations()[corev1.LastAppliedConfigAnnotation]; applied != before.GetAnnotations()[corev1.LastAppliedConfigAnnotation] {
		version, named := appliedSpec(applied, a.Group)
		a.own(after, manager, version, named)
	}
	return updated, nil
}

// own adds fields to what the manager owns by its updates at a version.
func (a Asked) own(object metav1.Object, manager string, version schema.GroupVersion, named *fieldpath.Set) {
	if named.Empty() {
		return
	}
	entries := slices.Clone(object.GetManagedFields())
	i := slices.IndexFunc(entries, func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationUpdate &&
			entry.APIVersion == version.String() && entry.Subresource == ""
	})
	owned := fieldpath.NewSet()
	if i < 0 {
		i = len(entries)
		entries = append(entries, metav1.ManagedFieldsEntry{
			Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: version.String(),
			FieldsType: "FieldsV1",
		})
	} else if fields := entries[i].FieldsV1; fields != nil {
		if err := owned.FromJSON(fields.GetRawReader()); err != nil {
			return // the API machinery starts anew with what it cannot read
		}
	}
	all := owned.Union(named)
	if all.Equals(owned) {
		return
	}
	raw, err := all.ToJSON()
	if err != nil {
		return
	}
	now := metav1.NewTime(a.Clock.Now()).Rfc3339Copy()
	entries[i].FieldsV1, entries[i].Time = metav1.NewFieldsV1(string(raw)), &now
	slices.SortStableFunc(entries, inOrder)
	object.SetManagedFields(entries)
}

// inOrder is the order in which the API machinery keeps managedFields: in another one, the next update would take their
// order for a change.
func inOrder(a, b metav1.ManagedFieldsEntry) int {
	seconds := func(entry metav1.ManagedFieldsEntry) int64 {
		if entry.Time == nil {
			return 0
		}
		return entry.Time.Unix()
	}
	return cmp.Or(
		cmp.Compare(a.Operation, b.Operation), cmp.Compare(seconds(a), seconds(b)), cmp.Compare(a.Manager, b.Manager),
		cmp.Compare(a.APIVersion, b.APIVersion), cmp.Compare(a.Subresource, b.Subresource),
	)
}

// managerOf is the manager of a request that names none, as the API machinery has it.
func managerOf(agent string) string {
	name, _, _ := strings.Cut(agent, "/")
	var b strings.Builder
	for _, r := range name {
		if !unicode.IsPrint(r) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > metav1validation.FieldManagerMaxLength {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

type requestKey struct{}

// noted is what the storage of a resource is not told of a request that updates something.
type noted struct {
	kind    types.PatchType // "" for a PUT
	version schema.GroupVersion
	agent   string
	body    bytes.Buffer // of a patch, as far as it was read
}

// NoteUpdates keeps with each request to update an object what Asked needs to know of it. It is the innermost filter.
func NoteUpdates(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, found := genericapirequest.RequestInfoFrom(r.Context())
		if !found || !info.IsResourceRequest || info.Subresource != "" || info.Verb != "patch" && info.Verb != "update" {
			next.ServeHTTP(w, r)
			return
		}
		request := &noted{version: schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}, agent: r.UserAgent()}
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, request))
		if info.Verb == "patch" {
			if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil {
				request.kind = types.PatchType(kind)
			}
			r.Body = readCloser{io.TeeReader(r.Body, &request.body), r.Body}
		}
		next.ServeHTTP(w, r)
	})
}

type readCloser struct {
	io.Reader
	io.Closer
}

// named are the fields of the spec that the body of a patch gives a value.
func (n *noted) named() (*fieldpath.Set, error) {
	named := fieldpath.NewSet()
	switch n.kind {
	case types.JSONPatchType:
		return n.namedByOperations()
	case types.MergePatchType, types.StrategicMergePatchType:
		var patch struct {
			Spec map[string]any `json:"spec"`
		}
		if err := json.Unmarshal(n.body.Bytes(), &patch); err != nil {
			return nil, err
		}
		collect(named, fieldpath.MakePathOrDie("spec"), patch.Spec)
	}
	return named, nil
}

// namedByOperations goes through a JSON patch in its order.
func (n *noted) namedByOperations() (*fieldpath.Set, error) {
	var operations []struct {
		Op    string `json:"op"`
		From  string `json:"from"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	if err := json.Unmarshal(n.body.Bytes(), &operations); err != nil {
		return nil, err
	}
	named := fieldpath.NewSet()
	for _, operation := range operations {
		switch operation.Op {
		case "add", "replace":
			path, value := pointer(operation.Path, operation.Value)
			collect(named, path, value)
		case "copy", "move":
			path, _ := pointer(operation.Path, nil)
			collect(named, path, "copied")
			if operation.Op == "move" {
				named = without(named, operation.From)
			}
		case "remove":
			named = without(named, operation.Path)
		}
	}
	return named, nil
}

// pointer takes a JSON pointer apart, as far as it names fields: from an element of a list on, the list counts. Of a
// value for more than the spec it returns the spec's.
func pointer(text string, value any) (fieldpath.Path, any) {
	var path fieldpath.Path
	for i, segment := range strings.Split(text, "/") {
		if i == 0 {
			continue
		}
		if segment == "-" || strings.Trim(segment, "0123456789") == "" {
			return path, "an element"
		}
		name := strings.NewReplacer("~1", "/", "~0", "~").Replace(segment)
		path = append(path, fieldpath.PathElement{FieldName: &name})
	}
	if whole, ok := value.(map[string]any); ok && len(path) == 0 {
		return fieldpath.MakePathOrDie("spec"), whole["spec"]
	}
	return path, value
}

// without leaves out what is at a JSON pointer and below it.
func without(named *fieldpath.Set, text string) *fieldpath.Set {
	removed, _ := pointer(text, nil)
	return named.RecursiveDifference(fieldpath.NewSet(removed))
}

// collect adds the fields at and below a path that get a value, if they lie below spec.
func collect(named *fieldpath.Set, path fieldpath.Path, value any) {
	fields, ok := value.(map[string]any)
	switch {
	case len(path) == 0 || path[0].FieldName == nil || *path[0].FieldName != "spec" || value == nil:
	case ok && (len(fields) > 0 || len(path) == 1):
		if fields["$patch"] == "delete" {
			return
		}
		for name, value := range fields {
			if !strings.HasPrefix(name, "$") { // a directive of a strategic merge patch
				collect(named, append(path.Copy(), fieldpath.PathElement{FieldName: &name}), value)
			}
		}
	case len(path) > 1:
		named.Insert(path.Copy())
	}
}

// appliedSpec are the fields of the spec in what a client-side apply kept of its manifest, and their version.
func appliedSpec(applied, group string) (schema.GroupVersion, *fieldpath.Set) {
	var manifest struct {
		APIVersion string         `json:"apiVersion"`
		Spec       map[string]any `json:"spec"`
	}
	named := fieldpath.NewSet()
	if err := json.Unmarshal([]byte(applied), &manifest); err != nil {
		return schema.GroupVersion{}, named // anybody may write anything there
	}
	version, err := schema.ParseGroupVersion(manifest.APIVersion)
	if err != nil || version.Group != group {
		return schema.GroupVersion{}, named
	}
	collect(named, fieldpath.MakePathOrDie("spec"), manifest.Spec)
	return version, named
}
