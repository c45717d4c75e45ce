// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package up

// portHolder would name the process that listens on a port; this system has no simple way to tell.
func portHolder(int) string { return "" }
