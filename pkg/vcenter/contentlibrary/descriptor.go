// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/vapi/library"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// maxDescriptor bounds a descriptor, in bytes. Those with long licences have some hundred thousand.
	maxDescriptor = 4 << 20
	// preparing is how long vCenter may take to have a descriptor ready, which it fetches first where the library is
	// subscribed and keeps no files.
	preparing = 10 * time.Second
)

// errUnusable is wrapped by errors that last as long as the contents of an item are the same.
var errUnusable = errors.New("its descriptor cannot be used")

// describe reads the descriptor of an item. vCenter makes a session for that, which ends with it.
func (r *reading) describe(ctx context.Context, item string) (image *facts.Image, err error) {
	var session string
	err = r.call(ctx, func(ctx context.Context) (err error) {
		session, err = r.manager.CreateLibraryItemDownloadSession(ctx, library.Session{LibraryItemID: item})
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		// One that is left ends by itself.
		_ = r.call(context.WithoutCancel(ctx), func(ctx context.Context) error {
			return r.manager.DeleteLibraryItemDownloadSession(ctx, session)
		})
	}()
	var files []library.DownloadFile
	err = r.call(ctx, func(ctx context.Context) (err error) {
		files, err = r.manager.ListLibraryItemDownloadSessionFile(ctx, session)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if strings.EqualFold(path.Ext(file.Name), ".ovf") {
			endpoint, err := r.prepare(ctx, session, file.Name)
			if err != nil {
				return nil, err
			}
			return r.download(ctx, endpoint)
		}
	}
	return nil, fmt.Errorf("%w: there is no .ovf among its files", errUnusable)
}

// prepare has vCenter make a file ready, and returns where it is.
func (r *reading) prepare(ctx context.Context, session, name string) (endpoint string, err error) {
	ctx, cancel := context.WithTimeout(ctx, preparing)
	defer cancel()
	look := r.manager.PrepareLibraryItemDownloadSessionFile
	backoff := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 20, Cap: time.Second}
	for {
		var file *library.DownloadFile
		err := r.call(ctx, func(ctx context.Context) (err error) {
			file, err = look(ctx, session, name)
			return err
		})
		switch {
		case err != nil:
			return "", err
		case file.Status == "ERROR":
			return "", fmt.Errorf("vCenter cannot make its descriptor ready: %w: %w", file.ErrorMessage, failure.Unavailable)
		case file.Status == "PREPARED" && file.DownloadEndpoint != nil:
			return file.DownloadEndpoint.URI, nil
		}
		look = r.manager.GetLibraryItemDownloadSessionFile
		timer := r.clock.NewTimer(backoff.Step())
		select {
		case <-ctx.Done():
			timer.Stop()
			return "", fmt.Errorf("vCenter has not made its descriptor ready: %w: %w", ctx.Err(), failure.Unavailable)
		case <-timer.C():
		}
	}
}

// download reads a descriptor. vCenter names the host that it takes itself for, which may be another name than the one
// that we know it by: the login is for the one that we have verified.
func (r *reading) download(ctx context.Context, endpoint string) (image *facts.Image, err error) {
	place, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("vCenter says where its descriptor is, and that is not a URL: %w", failure.Unavailable)
	}
	here := r.manager.URL()
	place.Scheme, place.Host, place.User = here.Scheme, here.Host, nil
	err = r.call(ctx, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, place.String(), nil)
		if err != nil {
			return fmt.Errorf("download its descriptor: %w", failure.Unavailable)
		}
		request.Header.Set("vmware-api-session-id", r.manager.SessionID())
		image, err = read(&r.manager.Client.Client.Client, request, r.keeps)
		return err
	})
	return image, err
}

// read gets a descriptor. Errors do not tell its place, in which vCenter puts a session.
func read(client *http.Client, request *http.Request, keeps func(key string) bool) (*facts.Image, error) {
	response, err := client.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("download its descriptor: %w: %w", err, failure.Unavailable)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("download its descriptor: vCenter answered %s: %w", response.Status, failure.Unavailable)
	}
	arriving := &arriving{Reader: response.Body}
	body := &io.LimitedReader{R: arriving, N: maxDescriptor + 1}
	envelope, err := ovf.Unmarshal(body)
	switch {
	case body.N <= 0:
		return nil, fmt.Errorf("%w: it is larger than %d MiB", errUnusable, maxDescriptor>>20)
	case arriving.broken != nil:
		return nil, fmt.Errorf("download its descriptor: %w: %w", arriving.broken, failure.Unavailable)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	image, err := imageOf(envelope, keeps)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	return image, nil
}

// arriving is an answer on its way. One that breaks off says nothing of what it is about.
type arriving struct {
	io.Reader
	broken error
}

func (a *arriving) Read(into []byte) (int, error) {
	n, err := a.Reader.Read(into)
	if err != nil && !errors.Is(err, io.EOF) {
		a.broken = err
	}
	return n, err
}
