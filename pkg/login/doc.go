// SPDX-License-Identifier: Apache-2.0

// Package login is the login service: it speaks the Supervisor's public
// protocol, so that `kubectl vsphere login` works unchanged, and publishes what
// any kube-apiserver needs to trust its tokens.
//
//	GET  /wcp/loginbanner                   text, for everybody
//	GET  /wcp/workloads                     Basic: the namespaces of the user
//	POST /wcp/login                         Basic: a token
//	GET  <issuer>/.well-known/openid-configuration, <issuer>/jwks
//	GET  /api/v1/namespaces/kube-public/configmaps/vip-cluster-info
//	                                        where the Kubernetes API is, and its authorities
//
// It owns the requests' form and limits, what a refusal looks like, the record
// of attempts and their metrics. What a password is worth it asks a Prover,
// which namespaces a user has a role in it asks Workloads; it imports neither
// vCenter's client nor pkg/vcenter. Tokens and their keys are in token, the
// limits on guessing in guard.
//
// What holds for every attempt:
//
//   - An unknown user, a wrong password and a name that nobody can have get the
//     same answer after the same time. What a limit shows of an account is that two
//     names are one account's; where --login-domain-aliases says so of domains, it
//     shows that of every name.
//   - Attempts are counted for the account that vCenter would count them for, under
//     whichever of its names: Accounts tells.
//   - That vCenter is away is 503 and never 401.
//   - A password is handed to the Prover and forgotten: it is in no field, log,
//     error or metric. A token is only in the response.
//   - There is a line in the log, with user, address, outcome and reason.
package login
