// SPDX-License-Identifier: Apache-2.0

// Package wcp is the client of a Supervisor's login service: /wcp/loginbanner,
// /wcp/workloads and /wcp/login, of ours and of VMware's, and of what the service
// tells everybody about the API server beside it. It knows neither
// kubeconfigs nor terminals, and whom to trust is decided by the transport that
// it is given.
//
// A password goes to the host of the request and nowhere else: redirects are
// not followed. It never gets into an error, whatever the server answers.
package wcp
