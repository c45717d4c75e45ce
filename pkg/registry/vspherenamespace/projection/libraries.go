// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
)

// ReasonLibraryUnknown is the reason of the condition ContentLibraries.
const ReasonLibraryUnknown = "NotTheOneGiven"

// SetLibraries takes all content libraries of vCenter.
func (p *Projector) SetLibraries(all []*facts.Library) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := make(map[string]string, len(all))
	for _, library := range all {
		now[library.ID] = library.Name
	}
	if p.libraries != nil && maps.Equal(p.libraries, now) {
		return
	}
	p.libraries = now
	for name, e := range p.entries {
		if e.record != nil && len(e.record.Spec.ContentLibraries) > 0 {
			p.dirty[name] = struct{}{}
		}
	}
	p.publish()
}

// Libraries returns the ids of the content libraries by their names, and whether they are known.
func (p *Projector) Libraries() (map[string][]string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.librariesByName(), p.libraries != nil
}

func (p *Projector) librariesByName() map[string][]string {
	ids := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(p.libraries)) {
		ids[p.libraries[id]] = append(ids[p.libraries[id]], id)
	}
	return ids
}

// given are the content libraries of an entry that count: whoever may make or rename one in vCenter can give it any
// name, so that a name alone means nothing.
func given(e *entry) []v1alpha1.NamespaceContentLibrary {
	var libraries []v1alpha1.NamespaceContentLibrary
	for _, name := range e.record.Spec.ContentLibraries {
		if id := e.record.Libraries[name]; id != "" {
			libraries = append(libraries, v1alpha1.NamespaceContentLibrary{Name: name, ID: id})
		}
	}
	return libraries
}

// astray says which content libraries of an entry are not there as they were given, and what helps. Empty: none, as far
// as is known.
func (p *Projector) astray(e *entry) string {
	if p.libraries == nil || e.record == nil {
		return ""
	}
	var sentences []string
	named := p.librariesByName()
	for _, name := range e.record.Spec.ContentLibraries {
		id := e.record.Libraries[name]
		if id != "" && p.libraries[id] == name {
			continue
		}
		sentence := fmt.Sprintf("vCenter has no content library %q any more that can be read and has the id %s, "+
			"which was given.", name, id)
		if id == "" {
			sentence = fmt.Sprintf("It is not known which content library was meant by %q.", name)
		}
		if others := named[name]; len(others) > 0 {
			sentence += fmt.Sprintf(" Another one of that name, %s, does not count: to give it, "+
				"take the name out of spec.contentLibraries and put it in again.", strings.Join(others, ", "))
		}
		sentences = append(sentences, sentence)
	}
	return strings.Join(sentences, " ")
}

// unknownLibraries says that content libraries do not count.
func (p *Projector) unknownLibraries(e *entry, object *v1alpha1.Namespace, message string) metav1.Condition {
	condition := metav1.Condition{
		Type: v1alpha1.NamespaceConditionLibraries, Status: metav1.ConditionFalse, ObservedGeneration: object.Generation,
		Reason: ReasonLibraryUnknown, Message: message,
	}
	condition.LastTransitionTime = since(e, object, condition.Type)
	return condition
}
