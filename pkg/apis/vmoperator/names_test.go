// SPDX-License-Identifier: Apache-2.0

package vmoperator_test

import (
	"testing"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
)

func TestPaused(t *testing.T) {
	annotation := map[string]string{"vmoperator.vmware.com/paused": ""}
	for name, test := range map[string]struct {
		annotations map[string]string
		extraConfig string
		want        bool
	}{
		"nobody asked":        {map[string]string{"vmoperator.vmware.com/other": "true"}, "", false},
		"annotation":          {annotation, "", true},
		"annotation of false": {map[string]string{"vmoperator.vmware.com/paused": "false"}, "false", true},
		"ExtraConfig":         {nil, "true", true},
		"ExtraConfig, True":   {nil, "True", true},
		"ExtraConfig, false":  {nil, "false", false},
		"ExtraConfig, other":  {nil, "yes", false},
	} {
		if got := vmoperator.Paused(test.annotations, test.extraConfig); got != test.want {
			t.Errorf("%s: Paused is %t, want %t", name, got, test.want)
		}
	}
}
