// SPDX-License-Identifier: Apache-2.0

package wirecache

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer"
)

func TestTheSameEvents(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	codecs := jsonserializer.NewCodecFactory(scheme)
	wrapped, err := Wrap(codecs, &corev1.PodList{})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	after, _ := runtime.SerializerInfoForMediaType(wrapped.SupportedMediaTypes(), runtime.ContentTypeJSON)
	if _, ok := after.StreamSerializer.Serializer.(events); !ok {
		t.Fatalf("events are encoded by a %T", after.StreamSerializer.Serializer)
	}
	pod := &newList(1).Items[0]
	pod.Annotations = map[string]string{"text": "line\nbreak, <b>, \u2028"}
	raw := []byte(encode(t, after.Serializer, pod))
	pretty := []byte(encode(t, before.PrettySerializer, pod))
	tests := map[string]runtime.Object{
		"event":           &metav1.WatchEvent{Type: "MODIFIED", Object: runtime.RawExtension{Raw: raw}},
		"for people":      &metav1.WatchEvent{Type: "MODIFIED", Object: runtime.RawExtension{Raw: pretty}},
		"not encoded yet": &metav1.WatchEvent{Type: "ADDED", Object: runtime.RawExtension{Object: pod}},
		"nothing":         &metav1.WatchEvent{Type: "ERROR"},
		"null":            &metav1.WatchEvent{Type: "ERROR", Object: runtime.RawExtension{Raw: []byte("null\n")}},
		"odd type":        &metav1.WatchEvent{Type: "<odd>", Object: runtime.RawExtension{Raw: raw}},
		"something else":  pod,
	}
	for name, object := range tests {
		t.Run(name, func(t *testing.T) {
			want := encode(t, before.StreamSerializer.Serializer, object)
			if diff := cmp.Diff(want, encode(t, after.StreamSerializer.Serializer, object)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
