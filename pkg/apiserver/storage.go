// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"github.com/openpacific/pacific/pkg/controller/storageclass"
	"github.com/openpacific/pacific/pkg/vcenter/storagepolicy"
)

// storagePolicies shows vCenter's storage policies to the controller of
// StorageClasses.
type storagePolicies struct{ *storagepolicy.Catalogue }

func (s storagePolicies) Policies() ([]storageclass.Policy, bool) {
	known, read := s.Catalogue.Policies()
	policies := make([]storageclass.Policy, len(known))
	for i, policy := range known {
		policies[i] = storageclass.Policy{ID: policy.ID, Name: policy.Name, ClassName: policy.ClassName}
	}
	return policies, read
}

// className is the name of the StorageClass of the policy of a name, "" where
// vCenter has no such policy.
func (s storagePolicies) className(name string) string {
	known, _ := s.Catalogue.Policies()
	for _, policy := range known {
		if policy.Name == name {
			return policy.ClassName
		}
	}
	return ""
}
