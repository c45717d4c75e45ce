// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/tools/cache"
)

// ListerWatcher lists and watches everything for an informer of this process. The objects that a watch hands on are the
// store's own, where a watch of the upstream cache copies each of them: so an informer costs its keys, needs to cut
// nothing down, and nobody may change what is in it.
func (s *Store) ListerWatcher() cache.ListerWatcher {
	directory := strings.TrimSuffix(s.prefix, "/")
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list := s.config.NewListFunc()
			return list, s.GetList(ctx, directory, informing(options), list)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return s.Watch(ctx, directory, informing(options))
		},
	}
}

// informing are the options of an informer, which selects nothing.
func informing(options metav1.ListOptions) storage.ListOptions {
	predicate := storage.Everything
	predicate.Limit, predicate.Continue = options.Limit, options.Continue
	predicate.AllowWatchBookmarks = options.AllowWatchBookmarks
	return storage.ListOptions{
		ResourceVersion: options.ResourceVersion, ResourceVersionMatch: options.ResourceVersionMatch,
		Predicate: predicate, Recursive: true, SendInitialEvents: options.SendInitialEvents,
	}
}
