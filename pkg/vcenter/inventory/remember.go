// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"fmt"
)

// remember takes what a process before this one knew for known, before the first reading. So a machine that the account
// was kept from since is asked for by itself, as in any later reading: it stays, hidden, with its place and nothing else,
// if it is there and not shown, and is never heard of if it is gone or lies elsewhere.
func (s *stream) remember(ctx context.Context) error {
	s.turns.Lock()
	first := !s.initial
	s.turns.Unlock()
	if s.Remembered == nil || !first {
		return nil
	}
	known, err := s.Remembered(ctx, s.client.ServiceContent.About.InstanceUuid)
	if err != nil {
		return fmt.Errorf("read which machines were there before: %w", err)
	}
	s.turns.Lock()
	defer s.turns.Unlock()
	for ref, folder := range known {
		if _, found := s.objects[ref]; found {
			continue
		}
		for i, kind := range s.Kinds {
			if kind.Type == ref.Type {
				s.objects[ref] = entry{kinds: 1 << i, properties: map[string]any{"parent": folder}}
				s.counts[i]++
			}
		}
	}
	return nil
}
