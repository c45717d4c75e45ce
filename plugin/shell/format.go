// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// Formats are the values of -o. Without it, the output is for people.
func Formats() []string { return []string{"json", "yaml", "name"} }

// CheckFormat refuses what is not a value of -o.
func CheckFormat(format string) error {
	if format == "" || slices.Contains(Formats(), format) {
		return nil
	}
	return fmt.Errorf("--output %q: it must be one of %s", format, strings.Join(Formats(), ", "))
}

// AddOutput adds the flag of the formats to a command.
func AddOutput(command *cobra.Command, output *string) {
	command.Flags().StringVarP(output, "output", "o", "", "Output format of the list: json, yaml or name.")
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(Formats(), cobra.ShellCompDirectiveNoFileComp))
}

// PrintTable is Print, and without a format writes a table for people, of which the first row is the head.
func PrintTable(out io.Writer, format string, value any, names []string, rows [][]string) error {
	if format != "" {
		return Print(out, format, value, names)
	}
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = Line(row[i], 253)
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}

// Age is how long ago something was, in one unit.
func Age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Print writes a value in one of the formats: as JSON or YAML, or the names.
func Print(out io.Writer, format string, value any, names []string) error {
	switch format {
	case "json":
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	case "yaml":
		encoder := yaml.NewEncoder(out)
		encoder.SetIndent(2)
		return errors.Join(encoder.Encode(value), encoder.Close())
	}
	for _, name := range names {
		if _, err := fmt.Fprintln(out, name); err != nil {
			return err
		}
	}
	return nil
}
