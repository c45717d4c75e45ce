// SPDX-License-Identifier: Apache-2.0

// Package token owns the tokens that a login hands out and the keys that sign
// them.
//
// A token is a JWT with the claims of a Supervisor's, signed with RS256. Its
// verifiers find the public keys by their kid in a JSON Web Key Set.
//
// A key lives so:
//
//	published ──PublishAhead──▶ signs ──RotateEvery──▶ verifies only ──▶ removed
//	                                    (its successor signs)   MaxLifetime
//
// The first key of all signs at once. What a key does follows from the time
// alone, so that several servers with one store agree. Keys are kept through a
// Store, as bytes that it may encrypt; content that cannot be read is never
// written over.
//
// The package knows neither passwords nor HTTP nor who may log in.
package token
