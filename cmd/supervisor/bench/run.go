// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openpacific/pacific/cmd/supervisor/component"
	"github.com/openpacific/pacific/cmd/supervisor/synthetic"
)

// Plan says how much is measured.
type Plan struct {
	Machines int
	// Rounds is how often each list is asked for on each side, GetRounds how often GETs are measured, for GetTime each.
	Rounds, GetRounds int
	GetTime           time.Duration
	Clients           int
	Watchers          int
	Changes           int
	Burst             int
	// Settle is the pause before memory is read.
	Settle time.Duration
}

// arrivalTimeout is how long all machines may take to be served once the Supervisor is ready.
const arrivalTimeout = 2 * time.Minute

// DefaultPlan is what `make bench` does.
func DefaultPlan() Plan {
	return Plan{
		Machines: 10_000, Rounds: 7, GetRounds: 5, GetTime: 3 * time.Second, Clients: 8, Watchers: 100, Changes: 15,
		Burst:  1000,
		Settle: 20 * time.Second,
	}
}

// run is a measurement under way.
type run struct {
	plan         Plan
	out          io.Writer
	supervisor   *supervisor
	processes    processes
	pacific, crd *side
	direct       *side
	objects      []objectName
	report       *Report
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.out, "[%5.1fs] "+format+"\n", append([]any{time.Since(r.supervisor.started).Seconds()}, args...)...)
}

// do measures everything, on a Supervisor that is ready.
func (r *run) do(ctx context.Context) error {
	r.report.Start.VSphereAPIServer = r.supervisor.startOf(component.VSphereAPIServer).Seconds()
	for _, step := range []func(context.Context) error{r.prepare, r.arrive, r.warm, r.populate, r.lists, r.reads, r.fanOut,
		r.finish} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return r.supervisor.check()
}

func (r *run) prepare(context.Context) error {
	var err error
	if r.processes, err = r.supervisor.processes(); err != nil {
		return err
	}
	config := r.supervisor.config
	if r.pacific, err = newSide("Pacific", config.Host, pacificGroupVersion, config); err != nil {
		return err
	}
	if r.crd, err = newSide("CRD", config.Host, twinGroupVersion, config); err != nil {
		return err
	}
	address, err := r.supervisor.direct()
	if err != nil {
		return err
	}
	r.direct, err = newSide("Pacific without the aggregator", address, pacificGroupVersion, config)
	return err
}

// arrive waits until all machines are served: a Supervisor is ready before each folder has been granted its namespace.
func (r *run) arrive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, arrivalTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		served, err := count(ctx, r.pacific)
		switch {
		case err != nil:
			return fmt.Errorf("wait for the machines: %w", err)
		case served == r.plan.Machines:
			r.report.Start.Whole = time.Since(r.supervisor.started).Seconds()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d machines: %w; %d are served", r.plan.Machines, ctx.Err(), served)
		case <-ticker.C:
		}
	}
}

// warm uses the machines before there is a CRD, so that what kube-apiserver needs to forward is not taken for the
// CRD's.
func (r *run) warm(ctx context.Context) error {
	if err := r.weigh(ctx, "started"); err != nil {
		return err
	}
	r.say("using Pacific alone first")
	for range 3 {
		for _, t := range []task{list("", acceptJSON, true), list("", acceptTable, true), pages(500, acceptTable)} {
			if _, err := t(ctx, r.pacific); err != nil {
				return err
			}
		}
	}
	return r.weigh(ctx, "Pacific used, no CRD yet")
}

// weigh reads memory after a pause, in which garbage is collected and given back.
func (r *run) weigh(ctx context.Context, moment string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(r.plan.Settle):
	}
	memory, err := r.processes.memory(moment)
	if err != nil {
		return err
	}
	r.report.Memory = append(r.report.Memory, memory)
	return nil
}

// populate fills the CRD.
func (r *run) populate(ctx context.Context) error {
	_, pacificItems, err := items(ctx, r.pacific)
	if err != nil {
		return err
	}
	if len(pacificItems) != r.plan.Machines {
		return fmt.Errorf("Pacific serves %d machines, want %d", len(pacificItems), r.plan.Machines)
	}
	for _, item := range pacificItems {
		var decoded struct {
			Metadata struct{ Namespace, Name string } `json:"metadata"`
		}
		if err := json.Unmarshal(item, &decoded); err != nil {
			return fmt.Errorf("decode an item: %w", err)
		}
		r.objects = append(r.objects, objectName{decoded.Metadata.Namespace, decoded.Metadata.Name})
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(r.objects), func(i, j int) {
		r.objects[i], r.objects[j] = r.objects[j],
			r.objects[i]
	})
	r.say("filling the CRD")
	began := time.Now()
	if err := define(ctx, r.supervisor.config.Host, r.crd); err != nil {
		return err
	}
	if err := fill(ctx, r.crd, pacificItems); err != nil {
		return fmt.Errorf("fill the CRD: %w", err)
	}
	r.report.Start.FillCRD = time.Since(began).Seconds()
	crdList, crdItems, err := items(ctx, r.crd)
	if err != nil {
		return err
	}
	pacificList, pacificItems, err := items(ctx, r.pacific)
	if err != nil {
		return err
	}
	if r.report.Sizes, err = compare(pacificList, crdList, pacificItems, crdItems); err != nil {
		return err
	}
	return r.weigh(ctx, "CRD filled")
}

// compare reports and tells.
func (r *run) compare(metrics ...Metric) {
	for _, m := range metrics {
		r.say("%s: %s %s, CRD %s: %.1f times", m.Name, number(m.Pacific), m.Unit, number(m.CRD), m.Ratio)
	}
	r.report.Metrics = append(r.report.Metrics, metrics...)
}

// alternate measures a task by turns on the one side and the other, after one turn that does not count.
func (r *run) alternate(ctx context.Context, rounds int, t task, sides ...*side) (map[*side][]sample, error) {
	samples := map[*side][]sample{}
	for round := range rounds + 1 {
		for _, s := range sides {
			measured, err := r.processes.measure(ctx, s, t)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				samples[s] = append(samples[s], measured)
			}
		}
	}
	return samples, nil
}

func (r *run) account(phase string, samples map[*side][]sample, sides ...*side) {
	for _, s := range sides {
		r.report.CPU = append(r.report.CPU, CPU{Phase: phase, Side: s.name, PerAction: perOperation(samples[s])})
	}
}

func (r *run) lists(ctx context.Context) error {
	for _, c := range []struct {
		name string
		goal float64
		task task
	}{
		{"LIST JSON", 5, list("", acceptJSON, true)},
		{"LIST Table", 5, list("", acceptTable, true)},
		{"LIST JSON, identity", 5, list("", acceptJSON, false)},
		{"LIST Table, identity", 5, list("", acceptTable, false)},
		{"LIST JSON limit=500, one page", 0, list("?limit=500", acceptJSON, true)},
		{"LIST JSON limit=500, all pages", 0, pages(500, acceptJSON)},
		{"LIST Table limit=500, all pages (kubectl get)", 0, pages(500, acceptTable)},
		{"informer's first sync (WatchList)", 0, syncInformer},
	} {
		samples, err := r.alternate(ctx, r.plan.Rounds, c.task, r.pacific, r.crd)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		r.compare(newMetric(c.name, "ms", false, c.goal, times(samples[r.pacific]), times(samples[r.crd])))
		r.account(c.name, samples, r.pacific, r.crd)
	}
	return nil
}

func (r *run) reads(ctx context.Context) error {
	for _, c := range []struct{ name, query string }{
		{fmt.Sprintf("GET consistent, %d clients", r.plan.Clients), ""},
		{fmt.Sprintf("GET resourceVersion=0, %d clients", r.plan.Clients), "?resourceVersion=0"},
	} {
		samples, err := r.alternate(ctx, r.plan.GetRounds, gets(r.objects, c.query, r.plan.Clients, r.plan.GetTime),
			r.pacific,
			r.crd, r.direct)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		r.compare(
			newMetric(c.name, "/s", true, 2, rates(samples[r.pacific]), rates(samples[r.crd])),
			newMetric(c.name+", without the aggregator", "/s", true, 0, rates(samples[r.direct]), nil))
		r.account(c.name, samples, r.pacific, r.crd, r.direct)
	}
	return nil
}

// renamer gives the guests of count machines, from the first-th on, names that begin with prefix.
type renamer func(ctx context.Context, first, count int, prefix string) error

// patch is the renamer of the CRD: one request per machine.
func (r *run) patch(ctx context.Context, first, count int, prefix string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.plan.Clients)
	for i := first; i < first+count; i++ {
		group.Go(func() error {
			body := fmt.Sprintf(`{"metadata":{"managedFields":[{}]},"status":{"network":{"hostName":"%s%d"}}}`, prefix, i)
			_, err := send(ctx, r.crd.packed, http.MethodPatch, r.crd.object(synthetic.Namespace(i), synthetic.Machine(i)),
				"application/merge-patch+json", []byte(body))
			return err
		})
	}
	return group.Wait()
}

// fanOut measures how changes reach many watchers.
func (r *run) fanOut(ctx context.Context) error {
	control := synthetic.NewControl(r.supervisor.dir.SyntheticControl())
	burst := min(r.plan.Burst, r.plan.Machines)
	results := map[*side]*reach{}
	for _, c := range []struct {
		side   *side
		rename renamer
	}{{r.pacific, control.Rename}, {r.crd, r.patch}} {
		r.say("%d watchers of %s", r.plan.Watchers, c.side.name)
		reached, err := r.reach(ctx, c.side, c.rename, burst)
		if err != nil {
			return fmt.Errorf("watchers of %s: %w", c.side.name, err)
		}
		results[c.side] = reached
	}
	p, d := results[r.pacific], results[r.crd]
	watchers := fmt.Sprintf("%d watchers", r.plan.Watchers)
	r.compare(
		newMetric("change to the median of "+watchers, "ms", false, 0, p.medians, d.medians),
		newMetric("change to the last of "+watchers, "ms", false, 0, p.lasts, d.lasts),
		newMetric(fmt.Sprintf("burst of %d changes, events to %s", burst, watchers), "/s", true, 0, []float64{p.rate},
			[]float64{d.rate}))
	r.report.Notes = append(r.report.Notes, fmt.Sprintf(
		"Watches that fell behind, were ended by the server and opened again where they ended, as client-go does: %d for "+
			"Pacific, "+
			"%d for the CRD.", p.reopens, d.reopens))
	phase := fmt.Sprintf("burst of %d changes to %s", burst, watchers)
	samples := map[*side][]sample{r.pacific: {p.burst}, r.crd: {d.burst}}
	r.account(phase, samples, r.pacific, r.crd)
	return nil
}

// reach is how changes of a side reached its watchers.
type reach struct {
	medians, lasts []float64
	rate           float64
	reopens        int
	burst          sample
}

func (r *run) reach(ctx context.Context, s *side, rename renamer, burst int) (*reach, error) {
	// From now on: a watch without a version would begin with all objects.
	version, err := r.version(ctx, s)
	if err != nil {
		return nil, err
	}
	watchers, err := gather(ctx, s, r.plan.Watchers, version)
	if err != nil {
		return nil, err
	}
	defer watchers.leave()
	reached := &reach{}
	for i := range r.plan.Changes + 1 {
		prefix := fmt.Sprintf("host-s%03d-", i)
		latencies, err := watchers.await(`"hostName":"`+prefix, 1,
			func() error { return rename(ctx, i*31%r.plan.Machines, 1, prefix) })
		if err != nil {
			return nil, err
		}
		if i == 0 {
			continue
		}
		values := make([]float64, len(latencies))
		for i, latency := range latencies {
			values[i] = milliseconds(latency)
		}
		reached.medians = append(reached.medians, median(values))
		reached.lasts = append(reached.lasts, values[len(values)-1])
	}
	var elapsed atomic.Int64
	reached.burst, err = r.processes.measure(ctx, s, func(ctx context.Context, _ *side) (int, error) {
		latencies, err := watchers.await(`"hostName":"host-burst-`, burst,
			func() error { return rename(ctx, 0, burst, "host-burst-") })
		if err != nil {
			return 0, err
		}
		elapsed.Store(int64(latencies[len(latencies)-1]))
		return burst * r.plan.Watchers, nil
	})
	if err != nil {
		return nil, err
	}
	reached.reopens = watchers.reopens()
	reached.rate = float64(burst*r.plan.Watchers) / time.Duration(elapsed.Load()).Seconds()
	return reached, nil
}

// version is the present version of a side.
func (r *run) version(ctx context.Context, s *side) (string, error) {
	answer, err := send(ctx, s.packed, http.MethodGet, s.url+"?limit=1", acceptJSON, nil)
	if err != nil {
		return "", err
	}
	return versionOf(answer)
}

// finish weighs once more and compares the memory.
func (r *run) finish(ctx context.Context) error {
	if err := r.weigh(ctx, "all measured"); err != nil {
		return err
	}
	return r.compareMemory()
}

func (r *run) compareMemory() error {
	before, after := r.report.Memory[1].Processes, r.report.Memory[len(r.report.Memory)-1].Processes
	ours, kube := after[component.VSphereAPIServer], after[component.KubeAPIServer]
	grown := func(name string, of func(Footprint) float64) float64 { return of(after[name]) - of(before[name]) }
	resident := func(f Footprint) float64 { return f.Resident }
	one := func(value float64) []float64 { return []float64{value} }
	r.compare(
		newMetric("resident: vsphere-apiserver against kube-apiserver", "MiB", false, 4, one(ours.Resident),
			one(kube.Resident)),
		newMetric("the same, peak", "MiB", false, 4, one(ours.Peak), one(kube.Peak)),
		newMetric("all of vsphere-apiserver against what the CRD added", "MiB", false, 4, one(ours.Resident),
			one(grown(component.KubeAPIServer, resident)+grown(component.Etcd, resident))))
	return nil
}
