// SPDX-License-Identifier: Apache-2.0

package login

import (
	"time"

	"k8s.io/component-base/metrics"
)

// Metrics counts and times attempts. A nil *Metrics measures nothing. No label
// names a user or an address.
type Metrics struct {
	attempts *metrics.CounterVec
	seconds  *metrics.HistogramVec
}

// NewMetrics makes the metrics and registers them, for example with
// legacyregistry.MustRegister.
func NewMetrics(register func(...metrics.Registerable)) *Metrics {
	m := &Metrics{
		attempts: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "pacific_login_attempts_total",
			Help: "Attempts to prove a password, by operation (login, workloads) and outcome " +
				"(accepted, refused, forbidden, limited, malformed, unavailable).",
			StabilityLevel: metrics.ALPHA,
		}, []string{"operation", "outcome"}),
		seconds: metrics.NewHistogramVec(&metrics.HistogramOpts{
			Name: "pacific_login_attempts_seconds",
			Help: "Time until an attempt's outcome was known, without the time that a refusal is held back, " +
				"by operation and outcome.",
			Buckets:        []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
			StabilityLevel: metrics.ALPHA,
		}, []string{"operation", "outcome"}),
	}
	register(m.attempts, m.seconds)
	return m
}

func (m *Metrics) attempted(operation string, o outcome, took time.Duration) {
	if m == nil {
		return
	}
	m.attempts.WithLabelValues(operation, string(o)).Inc()
	m.seconds.WithLabelValues(operation, string(o)).Observe(took.Seconds())
}
