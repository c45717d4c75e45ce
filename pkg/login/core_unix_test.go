// SPDX-License-Identifier: Apache-2.0

//go:build unix

package login

import (
	"syscall"
	"testing"
)

func TestForbidCoreDumps(t *testing.T) {
	if err := ForbidCoreDumps(); err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil || limit.Cur != 0 || limit.Max != 0 {
		t.Errorf("%+v, %v", limit, err)
	}
}
