// SPDX-License-Identifier: Apache-2.0

// Package kubectl is the real kubectl inside this program, so that nobody needs to install one to begin with. It finds
// the plugins next to this program and, where nothing else is said, talks to the Supervisor of the working directory.
package kubectl
