// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/apitesting"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/example"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/feature"
)

func TestMain(m *testing.M) {
	feature.DefaultFeatureSupportChecker = FeatureSupport(feature.DefaultFeatureSupportChecker)
	os.Exit(m.Run())
}

var podResource = schema.GroupResource{Resource: "pods"}

func podCodec(t testing.TB) runtime.Codec {
	t.Helper()
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	for _, add := range []func(*runtime.Scheme) error{example.AddToScheme, examplev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return apitesting.TestCodec(serializer.NewCodecFactory(scheme), examplev1.SchemeGroupVersion)
}

// directBackend is an outside world that takes every write and reports it at once.
type directBackend struct {
	store *Store
}

func (b *directBackend) Create(_ context.Context, key string, obj runtime.Object) error {
	b.store.Apply([]Change{{Key: key, Object: obj}})
	return nil
}

func (b *directBackend) Update(_ context.Context, key string, _, desired runtime.Object) error {
	b.store.Apply([]Change{{Key: key, Object: desired}})
	return nil
}

func (b *directBackend) Delete(_ context.Context, key string, _ runtime.Object) error {
	b.store.Apply([]Change{{Key: key}})
	return nil
}

func podConfig(t testing.TB) Config {
	return Config{
		GroupResource:  podResource,
		Codec:          podCodec(t),
		NewFunc:        func() runtime.Object { return &example.Pod{} },
		NewListFunc:    func() runtime.Object { return &example.PodList{} },
		ResourcePrefix: "/pods",
		Sequence:       NewCounter(0),
		FreshnessWait:  500 * time.Millisecond,
	}
}

// newStore returns a store that is not ready, over a direct backend unless the config has another.
func newStore(t testing.TB, config Config) *Store {
	t.Helper()
	backend := &directBackend{}
	if config.Backend == nil {
		config.Backend = backend
	}
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	backend.store = s
	return s
}

// newPodStore returns an empty store that is ready.
func newPodStore(t testing.TB) *Store {
	s := newStore(t, podConfig(t))
	s.Replace(nil)
	return s
}

func podKey(pod *example.Pod) string {
	return fmt.Sprintf("/pods/%s/%s", pod.Namespace, pod.Name)
}

func podAttrs(obj runtime.Object) (labels.Set, fields.Set, error) {
	pod, ok := obj.(*example.Pod)
	if !ok {
		return nil, nil, fmt.Errorf("not a pod but a %T", obj)
	}
	return pod.Labels, fields.Set{
		"metadata.name":      pod.Name,
		"metadata.namespace": pod.Namespace,
		"spec.nodeName":      pod.Spec.NodeName,
		"spec.restartPolicy": string(pod.Spec.RestartPolicy),
		"status.phase":       string(pod.Status.Phase),
	}, nil
}

// advance moves the revision without an event, as writes to other resources do in an etcd.
func (s *Store) advance() uint64 {
	m := s.mirror
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision = m.config.sequence.Next()
	m.wake()
	return m.revision
}

// compact lets go the history up to a revision.
func (s *Store) compact(t testing.TB, resourceVersion string) {
	t.Helper()
	revision, err := storage.APIObjectVersioner{}.ParseResourceVersion(resourceVersion)
	if err != nil {
		t.Fatal(err)
	}
	s.mirror.mu.Lock()
	defer s.mirror.mu.Unlock()
	s.mirror.history.compact(revision)
}
