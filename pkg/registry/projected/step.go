// SPDX-License-Identifier: Apache-2.0

package projected

import "k8s.io/apimachinery/pkg/types"

// roomy is how much a step may hold for its room to be thrown away afterwards.
const roomy = 1024

// step is what has happened since the last Flush. Its room is used again.
type step[T any] struct {
	ids []string
	// changes has each name once, in the order in which they were first touched, with what it has at the end: a name that
	// passes from one object to another changes once.
	changes []Change[T]
	at      map[types.NamespacedName]int
}

// leave says that an object has its name no more.
func (s *step[T]) leave(object *T) {
	name := nameOf(object)
	i, touched := s.at[name]
	switch {
	case !touched:
		s.add(name, nil)
	case s.changes[i].Object == object:
		s.changes[i].Object = nil
	}
	// Else another has it already.
}

// take says that an object has its name.
func (s *step[T]) take(object *T) {
	name := nameOf(object)
	if i, touched := s.at[name]; touched {
		s.changes[i].Object = object
		return
	}
	s.add(name, object)
}

func (s *step[T]) add(name types.NamespacedName, object *T) {
	if s.at == nil {
		s.at = map[types.NamespacedName]int{}
	}
	s.at[name] = len(s.changes)
	s.changes = append(s.changes, Change[T]{Namespace: name.Namespace, Name: name.Name, Object: object})
}

func (s *step[T]) end() {
	if cap(s.ids) > roomy || len(s.at) > roomy {
		*s = step[T]{}
		return
	}
	clear(s.ids)
	clear(s.changes)
	clear(s.at)
	s.ids, s.changes = s.ids[:0], s.changes[:0]
}
