// SPDX-License-Identifier: Apache-2.0

// Package apiserver puts vsphere-apiserver together: flags become Options,
// Options become a Server, and Run starts and stops it.
//
// It is the one place that knows every other package and joins them:
//
//	vcenter.Session ─▶ inventory.Collector ─▶ virtualmachine.Projector ─▶ livestore.Store ─▶ Cacher ─▶ registry ─▶ clients
//	        ▲                                                                    │
//	        └──────────────────── virtualmachine.Backend ◀───────────────────────┘
//
// Every replica follows vCenter from the start. Serving begins when this process is
// elected for the first time, and what writes runs in reigns: lifecycle says which
// is which.
package apiserver
