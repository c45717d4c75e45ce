// SPDX-License-Identifier: Apache-2.0

package clustermodule

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Inventory is what modules need to know of what there is.
type Inventory interface {
	// IsCluster says whether there is a cluster of that id.
	IsCluster(id string) bool
	// ClusterOf is the id of the cluster that a machine runs in, "" where there is no such machine.
	ClusterOf(machine string) string
}

// Modules are those of one vCenter.
type Modules struct {
	inventory Inventory

	mu      sync.Mutex
	made    int
	modules []*module
}

type module struct {
	Cluster string `json:"cluster"`
	ID      string `json:"module"`
	members []string
}

// New returns no modules.
func New(inventory Inventory) *Modules { return &Modules{inventory: inventory} }

const path = "/vcenter/cluster/modules"

// Serves says whether a path is one of modules.
func Serves(urlPath string) bool {
	_, rest, ok := split(urlPath)
	return ok && (rest == "" || strings.HasPrefix(rest, "/"))
}

// split parts a path into the prefix, by which the form of answers differs, and what is after the modules' own.
func split(urlPath string) (prefix, rest string, ok bool) {
	for _, prefix := range []string{"/rest", "/api"} {
		if rest, found := strings.CutPrefix(urlPath, prefix+path); found {
			return prefix, rest, true
		}
	}
	return "", "", false
}

// All are the members of each module, in the order in which the modules were made, so that a test can see what is left.
func (m *Modules) All() [][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all [][]string
	for _, module := range m.modules {
		m.drop(module)
		all = append(all, slices.Clone(module.members))
	}
	return all
}

// ServeHTTP answers a call of somebody who is logged in.
func (m *Modules) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	prefix, rest, _ := split(r.URL.Path)
	a := &answer{ResponseWriter: w, wrapped: prefix == "/rest"}
	names := strings.Split(strings.Trim(rest, "/"), "/")
	switch {
	case rest == "" && r.Method == http.MethodGet:
		a.value(map[string]any{"summaries": append([]*module{}, m.modules...)})
	case rest == "" && r.Method == http.MethodPost:
		m.create(a, r)
	case len(names) == 1 && r.Method == http.MethodDelete:
		m.remove(a, names[0])
	case len(names) == 3 && names[0] == "vm" && names[2] == "members":
		m.ofModule(a, r, names[1])
	default:
		a.fails(http.StatusNotFound, "not_found")
	}
}

func (m *Modules) create(a *answer, r *http.Request) {
	var request struct {
		Cluster string `json:"cluster"`
		Spec    struct {
			Cluster string `json:"cluster"`
		} `json:"spec"`
	}
	if json.NewDecoder(r.Body).Decode(&request) != nil {
		a.fails(http.StatusBadRequest, "invalid_argument")
		return
	}
	cluster := request.Cluster + request.Spec.Cluster
	if !m.inventory.IsCluster(cluster) {
		a.fails(http.StatusNotFound, "not_found")
		return
	}
	m.made++
	made := &module{Cluster: cluster, ID: "module-" + strconv.Itoa(m.made)}
	m.modules = append(m.modules, made)
	a.value(made.ID)
}

func (m *Modules) remove(a *answer, id string) {
	before := len(m.modules)
	m.modules = slices.DeleteFunc(m.modules, func(module *module) bool { return module.ID == id })
	if len(m.modules) == before {
		a.fails(http.StatusNotFound, "not_found")
		return
	}
	a.nothing()
}

// drop takes those members out that are gone, or run elsewhere.
func (m *Modules) drop(module *module) {
	module.members = slices.DeleteFunc(module.members, func(machine string) bool {
		return m.inventory.ClusterOf(machine) != module.Cluster
	})
}

// ofModule reads or changes members.
func (m *Modules) ofModule(a *answer, r *http.Request, id string) {
	at := slices.IndexFunc(m.modules, func(module *module) bool { return module.ID == id })
	if at < 0 {
		a.fails(http.StatusNotFound, "not_found")
		return
	}
	of := m.modules[at]
	m.drop(of)
	if r.Method == http.MethodGet {
		a.value(map[string]any{"vms": append([]string{}, of.members...)})
		return
	}
	var request struct {
		VMs []string `json:"vms"`
	}
	if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&request) != nil {
		a.fails(http.StatusBadRequest, "invalid_argument")
		return
	}
	success := true
	for _, machine := range request.VMs {
		is := slices.Contains(of.members, machine)
		switch r.URL.Query().Get("action") {
		case "add":
			if is || m.inventory.ClusterOf(machine) != of.Cluster {
				success = false
				continue
			}
			of.members = append(of.members, machine)
		case "remove":
			if !is {
				success = false
			}
			of.members = slices.DeleteFunc(of.members, func(member string) bool { return member == machine })
		default:
			a.fails(http.StatusNotFound, "not_found")
			return
		}
	}
	a.value(map[string]any{"success": success})
}

// answer is in one of the two forms: below /rest values are in an object.
type answer struct {
	http.ResponseWriter
	wrapped bool
}

func (a *answer) value(value any) {
	if a.wrapped {
		value = map[string]any{"value": value}
	}
	a.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(a).Encode(value)
}

func (a *answer) nothing() {
	if a.wrapped {
		a.WriteHeader(http.StatusOK)
		return
	}
	a.WriteHeader(http.StatusNoContent)
}

func (a *answer) fails(status int, kind string) {
	body := map[string]any{"error_type": strings.ToUpper(kind), "messages": []string{}}
	if a.wrapped {
		body = map[string]any{"type": "com.vmware.vapi.std.errors." + kind, "value": map[string]any{"messages": []string{}}}
	}
	a.Header().Set("Content-Type", "application/json")
	a.WriteHeader(status)
	_ = json.NewEncoder(a).Encode(body)
}
