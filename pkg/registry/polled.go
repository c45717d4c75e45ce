// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"

	"github.com/openpacific/pacific/pkg/failure"
)

// poll is what a polled kind has besides.
type poll struct {
	title string
	// trouble says what cannot be read now.
	trouble func() error
}

// ServePolled serves a kind that vCenter holds, and of which vCenter tells no changes: somebody asks again and again,
// feeds what they find, and keeps what was read when something cannot be read. Nobody writes. trouble says what cannot
// be read now, nil when all can; it may be nil, as is enough for documents.
//
// Until it was read once it answers 503 by itself, and it has a check of its own. The readiness of the whole process
// leaves it out: what it stands on may be dead for days, and the inventory has nothing to do with that.
func ServePolled[T, L any](frame *Frame, kind *Kind[T, L], trouble func() error) (*Resource[T, L], error) {
	if kind.Rules != nil {
		return nil, fmt.Errorf("%s has rules for those who write, and cannot be written", kind.Resource)
	}
	if trouble == nil {
		trouble = func() error { return nil }
	}
	polled := &poll{title: kind.Title, trouble: trouble}
	resource, err := serveLive(frame, kind, nil, polled.unread)
	if err != nil {
		return nil, err
	}
	resource.polled, resource.reads.polled = polled, polled
	return resource, nil
}

// unread says that nothing was read yet, and why. Whatever the reason is, such as a right that the account lacks, for
// who asks it is a matter of time.
func (p *poll) unread() error {
	if because := p.trouble(); because != nil {
		return fmt.Errorf("the %s have not been read from vCenter yet: %v: %w", p.title, because, failure.Unavailable)
	}
	return fmt.Errorf("the %s have not been read from vCenter yet; try again: %w", p.title, failure.Unavailable)
}

// check says what cannot be read now.
func (p *poll) check() error {
	if p == nil {
		return nil
	}
	if because := p.trouble(); because != nil {
		return fmt.Errorf("%s: %w", p.title, because)
	}
	return nil
}
