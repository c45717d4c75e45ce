// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
)

// space is what the files of a machine take, by the id of a storage policy: its
// home's, and those of the disks that have another one.
type space struct {
	policy string // "" for none
	bytes  int64
	apart  []part // by policy
}

type part struct {
	policy string
	bytes  int64
}

func (s space) equal(other space) bool {
	return s.policy == other.policy && s.bytes == other.bytes && slices.Equal(s.apart, other.apart)
}

// spaceOf splits what a machine takes. Files that vCenter does not count for a
// disk of another policy, snapshots of the memory and the swap file among them,
// count under the home's.
func (p *Projector) spaceOf(id string, m *machine) space {
	known := p.policies.Machines[id]
	s := space{policy: known.Home, bytes: m.committed}
	for _, disk := range known.Disks {
		bytes := min(disk.Space, s.bytes)
		if disk.Policy == known.Home || bytes == 0 {
			continue
		}
		s.bytes -= bytes
		at, found := slices.BinarySearchFunc(s.apart, disk.Policy,
			func(a part, policy string) int { return cmp.Compare(a.policy, policy) })
		if !found {
			s.apart = slices.Insert(s.apart, at, part{policy: disk.Policy})
		}
		s.apart[at].bytes += bytes
	}
	return s
}

// SetStoragePolicies says what storage policies there are, and which machine and
// which disk has which. Names show at once, and so does the first answer; the
// space of a machine whose policy changed moves at the next look.
//
// The space of a machine, all its files and snapshots, counts under the policy of
// its home, but for the files of disks that have another policy: those count under
// theirs. A disk without a policy counts with the home; a policy that vCenter does
// not name counts as none, which is "".
func (p *Projector) SetStoragePolicies(answer facts.StoragePolicies) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.policyNames == nil
	names := make(map[string]string, len(answer.Policies))
	for _, policy := range answer.Policies {
		names[policy.ID] = policy.Name
	}
	renamed := !maps.Equal(names, p.policyNames)
	p.policies, p.policyNames = answer, names
	if first {
		p.lookAtStorage()
	}
	if renamed {
		for name := range p.entries {
			p.dirty[name] = struct{}{}
		}
	}
	p.publish()
}

// lookAtStorage shows the space that machines take now.
func (p *Projector) lookAtStorage() {
	for id, m := range p.machines {
		if now := p.spaceOf(id, m); !now.equal(m.shown) {
			m.shown = now
			p.mark(m.folder)
		}
	}
}

// taken sums up the space of machines by the name of the policy.
type taken map[string]int64

func (t taken) add(s space, names map[string]string) {
	t[names[s.policy]] += s.bytes
	for _, part := range s.apart {
		t[names[part.policy]] += part.bytes
	}
}

// usage is what is shown of it.
func (t taken) usage() []v1alpha1.NamespaceStorageUsage {
	var shown []v1alpha1.NamespaceStorageUsage
	for _, policy := range slices.Sorted(maps.Keys(t)) {
		if bytes := t[policy]; bytes > 0 {
			shown = append(shown, v1alpha1.NamespaceStorageUsage{Policy: policy,
				Used: *resource.NewQuantity(roundUp(bytes, byteStep), resource.BinarySI)})
		}
	}
	return shown
}

// vanished names the storage policies of a namespace that vCenter does not have.
func (p *Projector) vanished(object *v1alpha1.Namespace) []string {
	if p.policyNames == nil {
		return nil
	}
	known := slices.Collect(maps.Values(p.policyNames))
	var gone []string
	for _, policy := range object.Spec.StoragePolicies {
		if !slices.Contains(known, policy.Name) {
			gone = append(gone, fmt.Sprintf("%q", policy.Name))
		}
	}
	return gone
}
