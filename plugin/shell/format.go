// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

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
