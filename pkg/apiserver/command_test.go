// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"io"
	"strings"
	"testing"
)

// TestTheCommandReportsEveryMistake runs the program itself, as far as it comes
// without a vCenter: up to its options.
func TestTheCommandReportsEveryMistake(t *testing.T) {
	command := NewCommand(t.Context())
	command.SetArgs([]string{"--logging-format=text"})
	command.SetOut(io.Discard)
	command.SetErr(io.Discard)
	err := command.Execute()
	if err == nil {
		t.Fatal("it ran without a vCenter")
	}
	for _, flag := range []string{"--vcenter is not set", "--vcenter-credentials is not set", "--etcd-servers"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("the error does not say %q: %v", flag, err)
		}
	}
}
