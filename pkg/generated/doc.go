// SPDX-License-Identifier: Apache-2.0

// Package generated and those below it are written by hack/generate.sh; nobody
// edits them: the OpenAPI definitions of all that is served, and for our own
// groups a clientset, listers, informers and apply configurations, with which
// other programs use the API as they use Kubernetes' own.
package generated
