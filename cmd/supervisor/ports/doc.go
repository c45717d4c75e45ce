// SPDX-License-Identifier: Apache-2.0

// Package ports chooses the loopback ports of a Supervisor's components, and keeps them until the components listen.
//
// Between the choice and the listening lie seconds, in which another Supervisor of this machine may be choosing too.
// Where the system allows it (Linux) a chosen port is therefore bound, without listening: nobody else can choose it
// then, and the component that is told of it can listen on it.
package ports
