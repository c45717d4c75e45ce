// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"errors"
	"strings"

	"github.com/google/btree"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	utilflowcontrol "k8s.io/apiserver/pkg/util/flowcontrol"
)

const (
	watchExpired = "The resourceVersion for the provided watch is too old."
	// resultBuffer lets a watcher and its reader work side by side.
	resultBuffer = 100
	// batchSize is how many events a watcher takes from the history at a time.
	batchSize = 128
)

// watcher sends the events of a key or of a directory to one reader. It reads the history at its own pace.
type watcher struct {
	store     *Store
	key       string
	recursive bool
	predicate storage.SelectionPredicate
	// initial says that the present state comes first, bookmark that its end is marked.
	initial, bookmark bool
	// progress says that the reader wants bookmarks on request.
	progress bool
	// requested is the revision from which the reader wants events, 0 for the present.
	requested uint64

	cancel context.CancelFunc
	result chan watch.Event

	// position is the revision up to which the reader has been told everything, bookmarked the count of the requests
	// for bookmarks that have been met.
	position   uint64
	bookmarked uint64
	// snapshot is the state to send first, until it is sent.
	snapshot *btree.BTreeG[*entry]
}

// Watch implements storage.Interface. It returns at once; before the first Replace the events come later.
func (s *Store) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	key, err := storage.PrepareKey(s.prefix, key, opts.Recursive)
	if err != nil {
		return nil, err
	}
	requested, err := s.versioner.ParseResourceVersion(opts.ResourceVersion)
	if err != nil {
		return nil, err
	}
	wantsInitial := opts.SendInitialEvents != nil && *opts.SendInitialEvents
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{
		store:     s,
		key:       key,
		recursive: opts.Recursive,
		predicate: opts.Predicate,
		initial:   wantsInitial || (opts.SendInitialEvents == nil && requested == 0),
		bookmark:  wantsInitial && opts.Predicate.AllowWatchBookmarks,
		progress:  opts.ProgressNotify,
		requested: requested,
		cancel:    cancel,
		result:    make(chan watch.Event, resultBuffer),
	}
	// What the present is has to be settled before the caller goes on and changes it.
	begun := s.Ready()
	if begun {
		w.begin()
	}
	go w.run(ctx, begun)
	utilflowcontrol.WatchInitialized(ctx)
	return w, nil
}

// Stop implements watch.Interface.
func (w *watcher) Stop() { w.cancel() }

// ResultChan implements watch.Interface.
func (w *watcher) ResultChan() <-chan watch.Event { return w.result }

// begin takes the state at which the watch starts.
func (w *watcher) begin() {
	m := w.store.mirror
	m.mu.Lock()
	defer m.mu.Unlock()
	w.bookmarked = m.progress
	w.position = m.revision
	switch {
	case w.initial:
		w.snapshot = m.tree.Clone()
	case w.requested > 0 && w.requested < m.revision:
		w.position = w.requested
	}
}

func (w *watcher) run(ctx context.Context, begun bool) {
	defer close(w.result)
	defer w.cancel()
	if !begun {
		select {
		case <-w.store.mirror.ready:
			w.begin()
		case <-ctx.Done():
			return
		}
	}
	if err := w.watch(ctx); err != nil && ctx.Err() == nil {
		w.send(ctx, watch.Event{Type: watch.Error, Object: statusOf(err)})
	}
}

// watch sends events until the context is done, which is no error.
func (w *watcher) watch(ctx context.Context) error {
	if w.requested > w.position {
		return storage.NewTooLargeResourceVersionError(w.requested, w.position, 1)
	}
	if w.initial {
		if err := w.sendInitial(ctx); err != nil {
			return err
		}
		// The watch may last for long, and the snapshot holds objects that are gone.
		w.snapshot = nil
	}
	return w.follow(ctx)
}

func (w *watcher) sendInitial(ctx context.Context) error {
	sent := true
	w.snapshot.AscendGreaterOrEqual(&entry{key: w.key}, func(e *entry) bool {
		if !strings.HasPrefix(e.key, w.key) {
			return false
		}
		if w.covers(e.key) && matches(w.predicate, e.object) {
			sent = w.send(ctx, watch.Event{Type: watch.Added, Object: e.object})
		}
		return sent && (w.recursive || e.key == w.key)
	})
	if !sent || !w.bookmark {
		return ctx.Err()
	}
	return w.sendBookmark(ctx, w.position, true)
}

// follow sends what happens after the position.
func (w *watcher) follow(ctx context.Context) error {
	batch := make([]*event, 0, batchSize)
	for {
		var next look
		batch, next = w.look(batch[:0])
		if next.expired {
			return apierrors.NewResourceExpired(watchExpired)
		}
		for _, e := range batch {
			if !w.sendEvent(ctx, e) {
				return ctx.Err()
			}
			w.position = e.revision
		}
		clear(batch)
		if !next.caughtUp {
			continue
		}
		if w.progress && w.bookmarked != next.progress {
			w.bookmarked = next.progress
			if err := w.sendBookmark(ctx, next.revision, false); err != nil {
				return err
			}
		}
		select {
		case <-next.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look is what a watcher sees when it looks at the mirror.
type look struct {
	expired  bool
	caughtUp bool
	revision uint64
	progress uint64
	changed  <-chan struct{}
}

// look takes the next events from the history.
func (w *watcher) look(batch []*event) ([]*event, look) {
	m := w.store.mirror
	m.mu.RLock()
	defer m.mu.RUnlock()
	if w.position < m.history.oldest {
		return batch, look{expired: true}
	}
	rest := m.history.events[m.history.after(w.position):]
	n := min(len(rest), batchSize)
	return append(batch, rest[:n]...), look{
		caughtUp: n == len(rest),
		revision: m.revision,
		progress: m.progress,
		changed:  m.changed,
	}
}

func (w *watcher) covers(key string) bool {
	if w.recursive {
		return strings.HasPrefix(key, w.key)
	}
	return key == w.key
}

// sendEvent sends what the event means to the reader, who knows only the objects that match. It returns false when the
// reader is gone.
func (w *watcher) sendEvent(ctx context.Context, e *event) bool {
	if !w.covers(e.key) {
		return true
	}
	before := e.previous != nil && matches(w.predicate, e.previous.object)
	now := e.current != nil && matches(w.predicate, e.current.object)
	switch {
	case before && now:
		return w.send(ctx, watch.Event{Type: watch.Modified, Object: e.current.object})
	case now:
		return w.send(ctx, watch.Event{Type: watch.Added, Object: e.current.object})
	case before && e.deleted != nil:
		return w.send(ctx, watch.Event{Type: watch.Deleted, Object: e.deleted})
	case before:
		gone := w.store.mirror.withRevision(e.previous.object, e.revision)
		return w.send(ctx, watch.Event{Type: watch.Deleted, Object: gone})
	}
	return true
}

func (w *watcher) sendBookmark(ctx context.Context, revision uint64, endOfInitial bool) error {
	object := w.store.config.NewFunc()
	if err := w.store.versioner.UpdateObject(object, revision); err != nil {
		return err
	}
	if endOfInitial {
		if err := storage.AnnotateInitialEventsEndBookmark(object); err != nil {
			return err
		}
	}
	w.send(ctx, watch.Event{Type: watch.Bookmark, Object: object})
	return ctx.Err()
}

// send returns false when the reader is gone.
func (w *watcher) send(ctx context.Context, e watch.Event) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case w.result <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

func statusOf(err error) runtime.Object {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	object := status.Status()
	return &object
}
