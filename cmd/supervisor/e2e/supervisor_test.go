// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

// suite is what the tests of this package share. TestMain sets it up before any of them runs.
var suite supervisortest.Suite

func TestMain(m *testing.M) { suite.Main(m) }

// supervisor is the one that all tests of this package share, with what only they ask of it.
type supervisor struct{ *supervisortest.Supervisor }

// running returns the Supervisor that the tests share.
func running(t *testing.T) *supervisor {
	t.Helper()
	return &supervisor{suite.Running(t)}
}
