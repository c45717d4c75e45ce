// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/target"
)

// event is what is read of an Event, whoever wrote it: in the older form with a count, or in the newer one with a series.
type event struct {
	Type           string     `json:"type"`
	Reason         string     `json:"reason"`
	Message        string     `json:"message"`
	Count          int        `json:"count"`
	FirstTimestamp *time.Time `json:"firstTimestamp"`
	LastTimestamp  *time.Time `json:"lastTimestamp"`
	EventTime      *time.Time `json:"eventTime"`
	Series         *struct {
		Count            int        `json:"count"`
		LastObservedTime *time.Time `json:"lastObservedTime"`
	} `json:"series"`
}

// at is when it happened last, and times how often.
func (e event) at() (at time.Time) {
	times := []*time.Time{e.FirstTimestamp, e.EventTime, e.LastTimestamp}
	if e.Series != nil {
		times = append(times, e.Series.LastObservedTime)
	}
	for _, one := range times {
		if one != nil && one.After(at) {
			at = *one
		}
	}
	return at
}

func (e event) times() int {
	if e.Series != nil {
		return e.Series.Count
	}
	return max(1, e.Count)
}

func newEventsCommand(sh *shell.Shell, flags *target.Flags) *cobra.Command {
	return &cobra.Command{
		Use: "events NAME", Short: "Lists what happened to a virtual machine in the last hour", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeName(sh, flags),
		RunE: func(command *cobra.Command, arguments []string) error {
			t, err := flags.Open(command.Context(), sh)
			if err != nil {
				return err
			}
			return listEvents(command.Context(), sh, t, arguments[0])
		},
	}
}

// listEvents lists the Events of a machine: not those of another one that had its name before.
func listEvents(ctx context.Context, sh *shell.Shell, t *target.Target, name string) error {
	var m machine
	if err := t.Get(ctx, path(t, name), &m); err != nil {
		return explained(t, name, err)
	}
	selector := url.Values{"fieldSelector": {"involvedObject.uid=" + m.Metadata.UID}}
	var list struct{ Items []event }
	if err := t.Get(ctx, "/api/v1/namespaces/"+url.PathEscape(t.Namespace)+"/events?"+selector.Encode(), &list); err != nil {
		return explained(t, name, err)
	}
	if len(list.Items) == 0 {
		fmt.Fprintf(sh.Err, "Nothing has happened to %s in the last hour.\n", shell.Line(name, 253))
		return nil
	}
	slices.SortStableFunc(list.Items, func(a, b event) int { return cmp.Compare(a.at().UnixNano(), b.at().UnixNano()) })
	table := tabwriter.NewWriter(sh.Out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(table, "LAST SEEN\tTYPE\tREASON\tTIMES\tMESSAGE")
	for _, one := range list.Items {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\n", shell.Age(sh.Now().Sub(one.at())), shell.Line(one.Type, 16),
			shell.Line(one.Reason, 64), one.times(), shell.Line(one.Message, 1024))
	}
	return table.Flush()
}
