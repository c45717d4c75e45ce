// SPDX-License-Identifier: Apache-2.0

package wirecache

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
)

// newSerializers returns the JSON serializer of an API server and the same one
// wrapped, for lists of Pods.
func newSerializers(t testing.TB) (plain, kept runtime.Serializer) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	codecs := jsonserializer.NewCodecFactory(scheme, jsonserializer.WithStreamingCollectionEncodingToJSON())
	wrapped, err := Wrap(codecs, &corev1.PodList{})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	after, _ := runtime.SerializerInfoForMediaType(wrapped.SupportedMediaTypes(), runtime.ContentTypeJSON)
	return before.Serializer, after.Serializer
}

func newList(count int) *corev1.PodList {
	list := &corev1.PodList{
		TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"},
		ListMeta: metav1.ListMeta{ResourceVersion: "100", Continue: "<more>"},
	}
	for i := range count {
		list.Items = append(list.Items, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: fmt.Sprintf("pod-%d", i), Namespace: "team-a", UID: types.UID(fmt.Sprint("uid-", i)),
				ResourceVersion: fmt.Sprint(i + 1),
				Finalizers:      []string{"keep"}, Labels: map[string]string{"a": "<b>&"},
			},
			Spec: corev1.PodSpec{NodeName: "node"},
		})
	}
	return list
}

func encode(t testing.TB, serializer runtime.Serializer, object runtime.Object) string {
	t.Helper()
	var buffer bytes.Buffer
	if err := serializer.Encode(object, &buffer); err != nil {
		t.Fatal(err)
	}
	return buffer.String()
}

func TestTheSameBytes(t *testing.T) {
	now := metav1.NewTime(time.Unix(1_800_000_000, 0))
	table := func(rows int) *metav1.Table {
		table := &metav1.Table{
			TypeMeta:          metav1.TypeMeta{Kind: "Table", APIVersion: "meta.k8s.io/v1"},
			ListMeta:          metav1.ListMeta{ResourceVersion: "7"},
			ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Name", Type: "string", Format: "name"}},
			Rows:              []metav1.TableRow{},
		}
		for _, pod := range newList(rows).Items {
			table.Rows = append(table.Rows, metav1.TableRow{
				Cells:      []any{pod.Name, int64(3), "<none>", nil},
				Conditions: []metav1.TableRowCondition{{Type: metav1.RowCompleted, Status: metav1.ConditionTrue}},
				Object: runtime.RawExtension{Object: &metav1.PartialObjectMetadata{
					TypeMeta:   metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"},
					ObjectMeta: pod.ObjectMeta}},
			})
		}
		return table
	}
	whole := table(2)
	for i := range whole.Rows {
		whole.Rows[i].Object.Object = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "whole"}}
	}
	bare := table(2)
	for i := range bare.Rows {
		bare.Rows[i].Object = runtime.RawExtension{}
	}
	texts := table(3)
	for i, cell := range []any{"plain", "<none>", "a \"quoted\" ünicode \\ text"} {
		texts.Rows[i].Cells, texts.Rows[i].Conditions = []any{texts.Rows[i].Cells[0], cell, ""}, nil
	}
	noCells := table(1)
	noCells.Rows[0].Cells, noCells.Rows[0].Conditions = nil, nil
	large := newList(3)
	large.Items[1].Annotations = map[string]string{"large": string(bytes.Repeat([]byte("x"), 2*chunk))}
	tests := map[string]runtime.Object{
		"list":                     newList(3),
		"list of one":              newList(1),
		"empty list":               &corev1.PodList{Items: []corev1.Pod{}},
		"nil list":                 &corev1.PodList{},
		"list larger than a chunk": large,
		"list of another type":     &corev1.SecretList{Items: []corev1.Secret{{ObjectMeta: metav1.ObjectMeta{Name: "s"}}}},
		"one object":               &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", DeletionTimestamp: &now}},
		"table":                    table(3),
		"table of texts":           texts,
		"table without cells":      noCells,
		"table without rows":       table(0),
		"one kept object": &corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
			ObjectMeta: newList(1).Items[0].ObjectMeta},
		"one kept object, no kind":  &newList(1).Items[0],
		"table with whole objects":  whole,
		"table without any objects": bare,
	}
	for name, object := range tests {
		t.Run(name, func(t *testing.T) {
			plain, kept := newSerializers(t)
			want := encode(t, plain, object)
			for _, attempt := range []string{"first", "second"} {
				if diff := cmp.Diff(want, encode(t, kept, object)); diff != "" {
					t.Errorf("%s time (-want +got):\n%s", attempt, diff)
				}
			}
		})
	}
}

// TestNoStaleBytes changes a list in every way that it can change and compares
// what is encoded each time.
func TestNoStaleBytes(t *testing.T) {
	plain, kept := newSerializers(t)
	list := newList(4)
	encode(t, kept, list)
	steps := []struct {
		name   string
		change func()
	}{
		{"a new version", func() {
			changed := list.Items[1].DeepCopy()
			changed.ResourceVersion, changed.Spec.NodeName = "50", "other"
			list.Items[1] = *changed
		}},
		{"a dry run's answer, with the version of what it changed", func() {
			changed := list.Items[2].DeepCopy()
			changed.Labels["dry"] = "run"
			list.Items[2] = *changed
		}},
		{"a dry run of a deletion", func() {
			list.Items[0].DeletionTimestamp = &metav1.Time{Time: time.Unix(1_800_000_000, 0)}
		}},
		{"one gone", func() { list.Items = list.Items[1:] }},
		{"made again with the same name", func() {
			changed := list.Items[0].DeepCopy()
			changed.UID, changed.ResourceVersion = "another", "60"
			list.Items[0] = *changed
		}},
		{"without a version", func() {
			changed := list.Items[0].DeepCopy()
			changed.ResourceVersion, changed.Name = "", "unversioned"
			list.Items[0] = *changed
		}},
		{"again without a version", func() { list.Items[0].Name = "unversioned too" }},
	}
	for _, step := range steps {
		step.change()
		if diff := cmp.Diff(encode(t, plain, list), encode(t, kept, list)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestATableAtAnotherVersion(t *testing.T) {
	plain, kept := newSerializers(t)
	pod := newList(1).Items[0]
	for _, version := range []string{"meta.k8s.io/v1", "meta.k8s.io/v1beta1"} {
		table := &metav1.Table{Rows: []metav1.TableRow{{Object: runtime.RawExtension{Object: &metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: version}, ObjectMeta: pod.ObjectMeta,
		}}}}}
		if diff := cmp.Diff(encode(t, plain, table), encode(t, kept, table)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", version, diff)
		}
	}
}

func TestKeptBytesAreUsedAndGoneOnesForgotten(t *testing.T) {
	_, kept := newSerializers(t)
	cached := kept.(*serializer)
	list := newList(10)
	encode(t, kept, list)
	first := cached.objects.entries["uid-3"].bytes
	encode(t, kept, list)
	if second := cached.objects.entries["uid-3"].bytes; &first[0] != &second[0] {
		t.Error("an unchanged object was encoded twice")
	}
	for i := range slack {
		other := newList(1)
		other.Items[0].UID = types.UID(fmt.Sprint("other-", i))
		encode(t, kept, other)
	}
	encode(t, kept, newList(10))
	if got := len(cached.objects.entries); got > 2*10+slack+10 {
		t.Errorf("%d entries are kept for objects that are gone", got)
	}
}

// TestOneObject reads objects alone, in turns with lists, as watches and single
// reads do.
func TestOneObject(t *testing.T) {
	plain, kept := newSerializers(t)
	cached := kept.(*serializer)
	list := newList(2)
	alone := func(object corev1.Pod) *corev1.Pod {
		object.Kind, object.APIVersion = "Pod", "v1"
		return &object
	}
	same := func(what string, object runtime.Object) {
		t.Helper()
		if diff := cmp.Diff(encode(t, plain, object), encode(t, kept, object)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	same("before any list", alone(list.Items[0]))
	same("list", list)
	before := cached.objects.entries["uid-1"].bytes
	same("after the list", alone(list.Items[1]))
	dryRun := list.Items[1].DeepCopy()
	dryRun.Labels["dry"] = "run"
	same("a copy with the same version", alone(*dryRun))
	if after := cached.objects.entries["uid-1"].bytes; &after[0] != &before[0] {
		t.Error("a copy pushed out what is kept for lists")
	}
	list.Items[1] = *list.Items[1].DeepCopy()
	list.Items[1].ResourceVersion, list.Items[1].Labels["new"] = "70", "state"
	same("a new version", alone(list.Items[1]))
	if after := cached.objects.entries["uid-1"].bytes; &after[0] == &before[0] {
		t.Error("a new version was not kept")
	}
	same("list of the new version", list)
	for i := range 5 * slack {
		other := newList(1).Items[0]
		other.UID = types.UID(fmt.Sprint("other-", i))
		encode(t, kept, alone(other))
	}
	if got := len(cached.objects.entries); got > 5*slack {
		t.Errorf("%d entries are kept for objects that came alone", got)
	}
}

func TestKeepTables(t *testing.T) {
	codecs := jsonserializer.NewCodecFactory(runtime.NewScheme())
	for range 2 {
		KeepTables(codecs)
	}
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	kept, ok := info.Serializer.(*serializer)
	if !ok {
		t.Fatalf("Tables are encoded by a %T", info.Serializer)
	}
	if _, twice := kept.Serializer.(*serializer); twice {
		t.Error("a second call wrapped the serializer again")
	}
	status := &metav1.Status{Message: "not a Table"}
	if diff := cmp.Diff(encode(t, kept.Serializer, status), encode(t, kept, status)); diff != "" {
		t.Errorf("another type (-want +got):\n%s", diff)
	}
}

func TestWrapRefusesWhatIsNoList(t *testing.T) {
	if _, err := Wrap(jsonserializer.NewCodecFactory(runtime.NewScheme()), &corev1.Pod{}); err == nil {
		t.Error("a Pod was taken for a list")
	}
}

func BenchmarkEncodeList(b *testing.B) {
	plain, kept := newSerializers(b)
	list := newList(10_000)
	table := &metav1.Table{}
	for _, pod := range list.Items {
		table.Rows = append(table.Rows, metav1.TableRow{
			Cells: []any{pod.Name, "PoweredOn", "", "", "10.0.0.1", "5d", "host-1.example.com", "zone-1",
				"Ubuntu Linux (64-bit)"},
			Object: runtime.RawExtension{Object: &metav1.PartialObjectMetadata{ObjectMeta: pod.ObjectMeta}},
		})
	}
	for what, object := range map[string]runtime.Object{"list": list, "table": table} {
		for name, serializer := range map[string]runtime.Serializer{"plain": plain, "kept": kept} {
			b.Run(what+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if err := serializer.Encode(object, io.Discard); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
