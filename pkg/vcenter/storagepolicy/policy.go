// SPDX-License-Identifier: Apache-2.0

package storagepolicy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"
	"k8s.io/apimachinery/pkg/util/validation"

	pbmtypes "github.com/vmware/govmomi/pbm/types"

	"github.com/openpacific/pacific/pkg/facts"
)

// maxClassName leaves room for what a quota puts behind the name of a class.
const maxClassName = 200

var notCompliant = regexp.MustCompile(`[^a-z0-9.]+`)

// policiesOf returns the policies that profiles are, by name.
func policiesOf(profiles []pbmtypes.BasePbmProfile) []facts.StoragePolicy {
	type candidate struct {
		facts.StoragePolicy
		created time.Time
	}
	var derived []candidate
	var policies []facts.StoragePolicy
	taken := map[string]bool{}
	for _, base := range profiles {
		capability, ok := base.(pbmtypes.BasePbmCapabilityProfile)
		if !ok {
			continue
		}
		profile := capability.GetPbmCapabilityProfile()
		policy := facts.StoragePolicy{ID: profile.ProfileId.UniqueId, Name: profile.Name, ClassName: profile.K8sCompliantName}
		for _, reserved := range profile.OtherK8sCompliantNames {
			taken[reserved] = true
		}
		if !usable(policy.ClassName) {
			derived = append(derived, candidate{policy, profile.CreationTime})
			continue
		}
		taken[policy.ClassName] = true
		policies = append(policies, policy)
	}
	slices.SortFunc(derived, func(a, b candidate) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.ID, b.ID))
	})
	for _, c := range derived {
		c.ClassName = className(c.Name)
		if !usable(c.ClassName) || taken[c.ClassName] {
			sum := sha256.Sum256([]byte(c.ID))
			c.ClassName = strings.Trim(c.ClassName[:min(len(c.ClassName), maxClassName-10)], "-.") + "-" +
				hex.EncodeToString(sum[:4])
			if !usable(c.ClassName) {
				c.ClassName = "policy-" + hex.EncodeToString(sum[:4])
			}
		}
		taken[c.ClassName] = true
		policies = append(policies, c.StoragePolicy)
	}
	slices.SortFunc(policies, func(a, b facts.StoragePolicy) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return policies
}

func usable(name string) bool {
	return len(name) <= maxClassName && len(validation.IsDNS1123Subdomain(name)) == 0
}

// className makes a name for Kubernetes as vCenter does: without accents, in
// lower case, with dashes for all else.
func className(name string) string {
	plain, _, err := transform.String(transform.Chain(norm.NFD, runes.Remove(runes.In(unicode.Mn)), norm.NFC), name)
	if err != nil {
		plain = name
	}
	made := notCompliant.ReplaceAllString(strings.ToLower(plain), "-")
	if strings.HasPrefix(made, "-") || strings.HasPrefix(made, ".") {
		made = "0" + made
	}
	if strings.HasSuffix(made, "-") || strings.HasSuffix(made, ".") {
		made += "0"
	}
	return made
}
