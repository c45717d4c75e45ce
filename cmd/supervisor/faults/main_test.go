// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"testing"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

// suite is what the tests of this package share. TestMain sets it up before any of them runs.
var suite supervisortest.Suite

func TestMain(m *testing.M) { suite.Main(m) }
