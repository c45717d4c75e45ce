// SPDX-License-Identifier: Apache-2.0

package clustermodule

import (
	"encoding/json"
	"fmt"
)

// kept is what is remembered of modules.
type kept struct {
	Made    int          `json:"made"`
	Modules []keptModule `json:"modules"`
}

type keptModule struct {
	Cluster string   `json:"cluster"`
	ID      string   `json:"id"`
	Members []string `json:"members"`
}

// Remember is what Recall needs.
func (m *Modules) Remember() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := kept{Made: m.made}
	for _, module := range m.modules {
		k.Modules = append(k.Modules, keptModule{module.Cluster, module.ID, module.members})
	}
	return json.Marshal(k)
}

// Recall has the modules be as they were. Members that are gone leave when somebody looks.
func (m *Modules) Recall(text []byte) error {
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return fmt.Errorf("read cluster modules: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made, m.modules = k.Made, nil
	for _, was := range k.Modules {
		m.modules = append(m.modules, &module{Cluster: was.Cluster, ID: was.ID, members: was.Members})
	}
	return nil
}
