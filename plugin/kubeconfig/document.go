// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one kubeconfig file: its text, and where things are in it.
type document struct {
	text []byte
	root *yaml.Node // the mapping; nil when the file is empty
}

// parse reads a file. An empty one is a kubeconfig without entries.
func parse(text []byte) (*document, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if node.Kind == 0 || node.Content[0].Tag == "!!null" {
		return &document{text: text}, nil
	}
	if node.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("not a kubeconfig")
	}
	return &document{text: text, root: node.Content[0]}, nil
}

// find returns a key of the root and its value.
func (d *document) find(name string) (key, value *yaml.Node) {
	if d.root == nil {
		return nil, nil
	}
	for i := 0; i+1 < len(d.root.Content); i += 2 {
		if d.root.Content[i].Value == name {
			return d.root.Content[i], d.root.Content[i+1]
		}
	}
	return nil, nil
}

// names returns the names of a list's elements.
func (d *document) names(list string) []string {
	_, sequence := d.find(list)
	if sequence == nil || sequence.Kind != yaml.SequenceNode {
		return nil
	}
	var names []string
	for _, item := range sequence.Content {
		names = append(names, nameOf(item))
	}
	return names
}

func nameOf(item *yaml.Node) string {
	if item.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(item.Content); i += 2 {
			if item.Content[i].Value == "name" {
				return item.Content[i+1].Value
			}
		}
	}
	return ""
}

// current returns the file's current context.
func (d *document) current() string {
	_, value := d.find("current-context")
	if value == nil || value.Tag == "!!null" {
		return ""
	}
	return value.Value
}

// edit is what changes in one file.
type edit struct {
	set     map[string][]entry  // by list, in the order in which new ones are added
	remove  map[string][]string // by list
	current *string
}

func (e *edit) empty() bool {
	for _, list := range []string{clusters, contexts, users} {
		if len(e.set[list])+len(e.remove[list]) > 0 {
			return false
		}
	}
	return e.current == nil
}

// apply returns the text with the edit done.
func (d *document) apply(e *edit) ([]byte, error) {
	expected, err := d.expect(e)
	if err != nil {
		return nil, err
	}
	if text, err := d.splice(e); err == nil {
		var got map[string]any
		if yaml.Unmarshal(text, &got) == nil && reflect.DeepEqual(got, expected) {
			return text, nil
		}
	}
	return encode(expected)
}

// expect does the edit on the values.
func (d *document) expect(e *edit) (map[string]any, error) {
	values := map[string]any{}
	if err := yaml.Unmarshal(d.text, &values); err != nil {
		return nil, err
	}
	if values == nil || d.root == nil {
		values = map[string]any{"apiVersion": "v1", "kind": "Config"}
		for _, list := range []string{clusters, contexts, users} {
			values[list] = []any{}
		}
		values["current-context"] = ""
	}
	for _, list := range []string{clusters, contexts, users} {
		if len(e.set[list])+len(e.remove[list]) == 0 {
			continue
		}
		items, ok := values[list].([]any)
		if !ok && values[list] != nil {
			return nil, fmt.Errorf("%s is not a list", list)
		}
		removed := names(e.remove[list])
		fresh := map[string]any{}
		for _, one := range e.set[list] {
			var value any
			text, err := encode(one)
			if err != nil {
				return nil, err
			}
			if err := yaml.Unmarshal(text, &value); err != nil {
				return nil, err
			}
			fresh[one.Name] = value
		}
		outcome := []any{}
		for _, item := range items {
			name := ""
			if mapping, ok := item.(map[string]any); ok {
				name = fmt.Sprint(mapping["name"])
			}
			if value, ok := fresh[name]; ok {
				if value != nil {
					outcome = append(outcome, value)
				}
				fresh[name] = nil
			} else if !removed[name] {
				outcome = append(outcome, item)
			}
		}
		for _, one := range e.set[list] {
			if value := fresh[one.Name]; value != nil {
				outcome = append(outcome, value)
			}
		}
		values[list] = outcome
	}
	if e.current != nil {
		values["current-context"] = *e.current
	}
	return values, nil
}

// replacement puts new lines in the place of some.
type replacement struct {
	from, to int // lines, to is the first that stays
	text     string
}

// errStyle says that a file is not written in lines, one entry after the other.
var errStyle = errors.New("not in block style")

// splice does the edit on the text.
func (d *document) splice(e *edit) ([]byte, error) {
	if d.root == nil {
		return d.create(e)
	}
	if d.root.Style&yaml.FlowStyle != 0 {
		return nil, errStyle
	}
	lines := strings.SplitAfter(string(d.text), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	end := "\n"
	if strings.HasSuffix(lines[0], "\r\n") {
		end = "\r\n"
	}
	if last := &lines[len(lines)-1]; !strings.HasSuffix(*last, "\n") {
		*last += end
	}
	bottom := d.root.Line
	for bottom < len(lines) && !strings.HasPrefix(lines[bottom], "---") && !strings.HasPrefix(lines[bottom], "...") {
		bottom++
	}
	var all []replacement
	for _, list := range []string{clusters, contexts, users} {
		if len(e.set[list])+len(e.remove[list]) == 0 {
			continue
		}
		found, err := d.spliceList(lines, bottom, list, e)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if e.current != nil {
		text, err := encode(map[string]string{"current-context": *e.current})
		if err != nil {
			return nil, err
		}
		at := replacement{from: bottom, to: bottom, text: string(text)}
		if key, value := d.find("current-context"); key != nil {
			if value.Line != key.Line {
				return nil, errStyle
			}
			at.from, at.to = key.Line-1, key.Line
		}
		all = append(all, at)
	}
	slices.SortStableFunc(all, func(a, b replacement) int { return a.from - b.from })
	var out bytes.Buffer
	next := 0
	for _, r := range all {
		if r.from < next {
			return nil, errStyle
		}
		for ; next < r.from; next++ {
			out.WriteString(lines[next])
		}
		out.WriteString(strings.ReplaceAll(r.text, "\n", end))
		next = r.to
	}
	for ; next < len(lines); next++ {
		out.WriteString(lines[next])
	}
	return out.Bytes(), nil
}

// create writes the text of a file that had none, or only comments.
func (d *document) create(e *edit) ([]byte, error) {
	values, err := d.expect(e)
	if err != nil {
		return nil, err
	}
	text, err := encode(values)
	if err != nil {
		return nil, err
	}
	before := d.text
	if len(before) > 0 && !bytes.HasSuffix(before, []byte("\n")) {
		before = append(slices.Clone(before), '\n')
	}
	return append(slices.Clone(before), text...), nil
}

// spliceList returns the replacements within one list. A list that is missing
// gets to the bottom.
func (d *document) spliceList(lines []string, bottom int, list string, e *edit) ([]replacement, error) {
	key, sequence := d.find(list)
	last := replacement{from: bottom, to: bottom} // where new elements go
	indent := 0
	removed := names(e.remove[list])
	fresh := map[string]*entry{}
	for i := range e.set[list] {
		fresh[e.set[list][i].Name] = &e.set[list][i]
	}
	var all []replacement
	kept := 0
	switch {
	case key == nil:
		last.text = list + ":\n"
	case sequence.Kind == yaml.ScalarNode && sequence.Tag == "!!null",
		sequence.Kind == yaml.SequenceNode && len(sequence.Content) == 0:
		if len(e.set[list]) == 0 {
			return nil, nil
		}
		if line := strings.TrimSpace(lines[key.Line-1]); line != list+":" && line != list+": []" && line != list+": null" {
			return nil, errStyle
		}
		last = replacement{from: key.Line - 1, to: key.Line, text: list + ":\n"}
	case sequence.Kind != yaml.SequenceNode || sequence.Style&yaml.FlowStyle != 0:
		return nil, errStyle
	default:
		indent = sequence.Column - 1
		ranges, err := elements(lines, sequence)
		if err != nil {
			return nil, err
		}
		for i, item := range sequence.Content {
			name, at := nameOf(item), ranges[i]
			replaced, ours := fresh[name]
			switch {
			case ours && replaced != nil:
				text, err := element(*replaced, indent)
				if err != nil {
					return nil, err
				}
				at.text = text
				all = append(all, at)
				fresh[name] = nil
				kept++
			case ours || removed[name]:
				all = append(all, at)
			default:
				kept++
			}
		}
		after := ranges[len(ranges)-1].to
		last = replacement{from: after, to: after}
	}
	for _, one := range e.set[list] {
		if fresh[one.Name] == nil {
			continue
		}
		text, err := element(one, indent)
		if err != nil {
			return nil, err
		}
		last.text += text
		kept++
	}
	if kept == 0 && key != nil {
		line := strings.TrimRight(lines[key.Line-1], "\r\n")
		all = append(all, replacement{from: key.Line - 1, to: key.Line,
			text: strings.Replace(line, list+":", list+": []", 1) + "\n"})
	}
	if last.text != "" && kept > 0 {
		all = append(all, last)
	}
	return all, nil
}

// elements returns the lines of each element of a list in block style.
func elements(lines []string, sequence *yaml.Node) ([]replacement, error) {
	dash := strings.Repeat(" ", sequence.Column-1) + "-"
	ranges := make([]replacement, len(sequence.Content))
	for i, item := range sequence.Content {
		from := item.Line - 1
		for from >= 0 && !strings.HasPrefix(lines[from], dash) {
			from--
		}
		if from < 0 || (i > 0 && from <= ranges[i-1].from) {
			return nil, errStyle
		}
		to := from + 1
		for to < len(lines) && belongs(lines[to], sequence.Column-1) {
			to++
		}
		for to > from+1 && strings.TrimSpace(lines[to-1]) == "" {
			to-- // blank lines after an element separate it from the next
		}
		ranges[i] = replacement{from: from, to: to}
	}
	return ranges, nil
}

// belongs says whether a line goes on with the element whose dash is indented
// so much.
func belongs(line string, indent int) bool {
	trimmed := strings.TrimLeft(line, " ")
	return strings.TrimSpace(line) == "" || len(line)-len(trimmed) > indent
}

// element returns the lines of a new element.
func element(one entry, indent int) (string, error) {
	text, err := encode([]entry{one})
	if err != nil || indent == 0 {
		return string(text), err
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		out.WriteString(strings.Repeat(" ", indent) + line)
	}
	return out.String(), nil
}

func names(list []string) map[string]bool {
	set := map[string]bool{}
	for _, name := range list {
		set[name] = true
	}
	return set
}

func encode(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent() // as kubectl writes it
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

// sorted returns entries by name.
func sorted(entries []entry) []entry {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// merge adds to the config what the file says and the config does not know yet.
func (d *document) merge(config *Config) error {
	var values struct {
		Clusters []entry `yaml:"clusters"`
		Contexts []entry `yaml:"contexts"`
		Users    []entry `yaml:"users"`
	}
	if d.root == nil {
		return nil
	}
	if err := d.root.Decode(&values); err != nil {
		return fmt.Errorf("not a kubeconfig: %w", err)
	}
	for _, one := range values.Clusters {
		if _, known := config.Clusters[one.Name]; !known && one.Cluster != nil {
			config.Clusters[one.Name] = *one.Cluster
		}
	}
	for _, one := range values.Contexts {
		if _, known := config.Contexts[one.Name]; !known && one.Context != nil {
			config.Contexts[one.Name] = *one.Context
			config.Order = append(config.Order, one.Name)
		}
	}
	for _, one := range values.Users {
		if _, known := config.Users[one.Name]; !known && one.User != nil {
			config.Users[one.Name] = *one.User
		}
	}
	if config.CurrentContext == "" {
		config.CurrentContext = d.current()
	}
	return nil
}
