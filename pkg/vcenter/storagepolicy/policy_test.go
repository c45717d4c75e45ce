// SPDX-License-Identifier: Apache-2.0

package storagepolicy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
)

func TestClassNames(t *testing.T) {
	profile := func(id, name, compliant string, day int, others ...string) pbmtypes.BasePbmProfile {
		return &pbmtypes.PbmCapabilityProfile{
			PbmProfile: pbmtypes.PbmProfile{ProfileId: pbmtypes.PbmProfileId{UniqueId: id}, Name: name,
				CreationTime: time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)},
			K8sCompliantName: compliant, OtherK8sCompliantNames: others,
		}
	}
	long := strings.Repeat("x", 300)
	profiles := []pbmtypes.BasePbmProfile{
		profile("1", "Gold Storage", "gold-storage", 9, "gold-storage-latebinding"),
		profile("2", "gold storage", "", 1),
		profile("3", "Gold Storage latebinding", "", 1),
		profile("4", "Spécial: Größe (1)", "", 1),
		profile("5", "日本", "", 1),
		profile("6", "a..b", "", 1),
		profile("7", "twice", "", 3),
		profile("8", "Twice", "", 2),
		profile("9", long, "", 1),
		profile("10", "vSAN Default Storage Policy", "Not_Compliant", 1),
		&pbmtypes.PbmProfile{Name: "of another kind"},
	}
	want := map[string]string{
		"1": "gold-storage", "2": "gold-storage-d4735e3a", "3": "gold-storage-latebinding-4e074085", "4": "special-gro-e-1-0",
		"5": "0-0",
		"6": "policy-e7f6c011", "7": "twice-7902699b", "8": "twice", "9": strings.Repeat("x", 190) + "-19581e27",
		"10": "vsan-default-storage-policy",
	}
	names := func(profiles []pbmtypes.BasePbmProfile) map[string]string {
		names := map[string]string{}
		for _, policy := range policiesOf(profiles) {
			names[policy.ID] = policy.ClassName
		}
		return names
	}
	if diff := cmp.Diff(want, names(profiles)); diff != "" {
		t.Errorf("names by id (-want +got):\n%s", diff)
	}
	slices.Reverse(profiles)
	if diff := cmp.Diff(want, names(profiles)); diff != "" {
		t.Errorf("in another order (-want +got):\n%s", diff)
	}
	if got := policiesOf(profiles)[1].Name; got != "Gold Storage latebinding" {
		t.Errorf("the second by name is %q", got)
	}
}
