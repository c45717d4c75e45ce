// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"encoding/json"
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
)

// Metadata is what Kubernetes knows of a virtual machine and vCenter has no field for: the record that lies in the
// machine.
type Metadata struct {
	facts.Head
	Body
}

// Body is the part of the record that means something to Kubernetes alone.
type Body struct {
	Generation                 int64                       `json:"generation,omitempty"`
	Labels                     map[string]string           `json:"labels,omitempty"`
	Annotations                map[string]string           `json:"annotations,omitempty"`
	Finalizers                 []string                    `json:"finalizers,omitempty"`
	OwnerReferences            []metav1.OwnerReference     `json:"ownerReferences,omitempty"`
	ManagedFields              []metav1.ManagedFieldsEntry `json:"managedFields,omitempty"`
	DeletionGracePeriodSeconds *int64                      `json:"deletionGracePeriodSeconds,omitempty"`

	// Spec holds the fields that somebody declared, and no other.
	Spec vmopv1.VirtualMachineSpec `json:"spec,omitzero"`
	// Size is what the declared class meant when it was declared, nil where none is. What becomes of the class later
	// changes no machine.
	Size *facts.Size `json:"size,omitempty"`
	// Drives are the declared CD-ROM drives with the files of their images, nil where none are declared.
	Drives *facts.Drives `json:"drives,omitempty"`
	// Cards are the network cards of the declared interfaces with the networks that were meant, nil where none are declared.
	Cards *facts.Cards `json:"cards,omitempty"`
}

// Record gives what is written into the machine. Equal metadata give equal records.
func (m *Metadata) Record() (facts.Head, []byte, error) {
	body, err := m.encodeBody()
	whole := *m
	whole.repeat()
	return whole.Head, body, err
}

func (m *Metadata) encodeBody() ([]byte, error) {
	body, err := json.Marshal(m.Body)
	if err != nil {
		return nil, fmt.Errorf("encode metadata of virtual machine %q: %w", m.Namespace+"/"+m.Name, err)
	}
	return body, nil
}

// Decode reads what lies in a machine. It does not say whether the record counts for the machine that carries it.
func Decode(head facts.Head, body []byte) (*Metadata, error) {
	m := &Metadata{Head: head}
	if err := json.Unmarshal(body, &m.Body); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if problems := validation.IsDNS1123Subdomain(m.Name); len(problems) > 0 {
		return nil, fmt.Errorf("its name %q is not valid: %s", m.Name, problems[0])
	}
	return m, nil
}

// repeat has the head say what the annotations decide.
func (m *Metadata) repeat() {
	m.Paused = vmoperator.PausedByUser(m.Annotations)
	m.ReclaimPolicy = m.Annotations[vsphere.ReclaimPolicyAnnotation]
}

// deletionTimestamp is the time of the deletion as Kubernetes has it, nil where none was asked for.
func (m *Metadata) deletionTimestamp() *metav1.Time {
	if m.Deletion.IsZero() {
		return nil
	}
	return &metav1.Time{Time: m.Deletion}
}
