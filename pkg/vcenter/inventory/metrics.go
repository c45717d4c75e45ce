// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"time"

	"k8s.io/component-base/metrics"
)

// Metrics measures a Collector. A nil *Metrics measures nothing.
type Metrics struct {
	objects    *metrics.GaugeVec
	hidden     *metrics.GaugeVec
	lastUpdate *metrics.Gauge
	rebuilds   *metrics.Counter
	updates    *metrics.Counter
}

// NewMetrics makes the metrics and registers them, for example with
// legacyregistry.MustRegister.
func NewMetrics(register func(...metrics.Registerable)) *Metrics {
	m := &Metrics{
		objects: metrics.NewGaugeVec(&metrics.GaugeOpts{
			Name:           "pacific_inventory_objects",
			Help:           "Managed objects that are known, by type.",
			StabilityLevel: metrics.ALPHA,
		}, []string{"type"}),
		hidden: metrics.NewGaugeVec(&metrics.GaugeOpts{
			Name: "pacific_inventory_hidden_objects",
			Help: "Managed objects that vCenter keeps from the account now, by type. They are served as they were " +
				"read last.",
			StabilityLevel: metrics.ALPHA,
		}, []string{"type"}),
		lastUpdate: metrics.NewGauge(&metrics.GaugeOpts{
			Name:           "pacific_inventory_last_update_timestamp_seconds",
			Help:           "When vCenter was last heard of, in Unix seconds. Its age grows while the inventory is stale.",
			StabilityLevel: metrics.ALPHA,
		}),
		rebuilds: metrics.NewCounter(&metrics.CounterOpts{
			Name:           "pacific_inventory_rebuilds_total",
			Help:           "How often a full set was read and applied, the first time included.",
			StabilityLevel: metrics.ALPHA,
		}),
		updates: metrics.NewCounter(&metrics.CounterOpts{
			Name:           "pacific_inventory_updates_total",
			Help:           "Updates that were handed on because something differed.",
			StabilityLevel: metrics.ALPHA,
		}),
	}
	register(m.objects, m.hidden, m.lastUpdate, m.rebuilds, m.updates)
	return m
}

func (m *Metrics) turned(now time.Time) {
	if m != nil {
		m.lastUpdate.Set(float64(now.UnixMilli()) / 1000)
	}
}

func (m *Metrics) rebuilt() {
	if m != nil {
		m.rebuilds.Inc()
	}
}

func (m *Metrics) updated(objects, hidden map[string]int) {
	if m != nil {
		m.updates.Inc()
		for kind, n := range objects {
			m.objects.WithLabelValues(kind).Set(float64(n))
			m.hidden.WithLabelValues(kind).Set(float64(hidden[kind]))
		}
	}
}
