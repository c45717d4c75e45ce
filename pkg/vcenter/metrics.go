// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"time"

	"k8s.io/component-base/metrics"
)

// Metrics counts and times what a Session does. A nil *Metrics measures
// nothing.
type Metrics struct {
	calls  *metrics.HistogramVec
	faults *metrics.CounterVec
	logins *metrics.CounterVec
}

// NewMetrics makes the metrics and registers them, for example with
// legacyregistry.MustRegister.
func NewMetrics(register func(...metrics.Registerable)) *Metrics {
	m := &Metrics{
		calls: metrics.NewHistogramVec(&metrics.HistogramOpts{
			Name:           "pacific_vcenter_calls_seconds",
			Help:           "Time that vCenter took to answer, by method.",
			Buckets:        []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
			StabilityLevel: metrics.ALPHA,
		}, []string{"method"}),
		faults: metrics.NewCounterVec(&metrics.CounterOpts{
			Name:           "pacific_vcenter_call_faults_total",
			Help:           "Calls that failed, by method and by type of vSphere fault, or network, deadline and canceled.",
			StabilityLevel: metrics.ALPHA,
		}, []string{"method", "fault"}),
		logins: metrics.NewCounterVec(&metrics.CounterOpts{
			Name:           "pacific_vcenter_logins_total",
			Help:           "Attempts to log in to vCenter, by result: success, refused (user name or password) or error.",
			StabilityLevel: metrics.ALPHA,
		}, []string{"result"}),
	}
	register(m.calls, m.faults, m.logins)
	return m
}

func (m *Metrics) called(method string, took time.Duration, err error) {
	if m == nil {
		return
	}
	m.calls.WithLabelValues(method).Observe(took.Seconds())
	if err != nil {
		m.faults.WithLabelValues(method, faultName(err)).Inc()
	}
}

func (m *Metrics) loggedIn(err error) {
	if m == nil {
		return
	}
	result := "success"
	switch {
	case isRefused(err):
		result = "refused"
	case err != nil:
		result = "error"
	}
	m.logins.WithLabelValues(result).Inc()
}
