// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
)

// TestCompatibilityTable holds the table of fields in the documentation equal to what a machine can be made with.
func TestCompatibilityTable(t *testing.T) {
	text, err := os.ReadFile("../../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n### What a machine can be made with\n")
	if !found {
		t.Fatal("the documentation has no such section")
	}
	section, _, _ = strings.Cut(section, "\n### ")
	made, not, _ := strings.Cut(section, "\n| refused |")
	does := map[string]string{}
	visit("spec", reflect.TypeFor[v1alpha5.VirtualMachineSpec](), func(path string) { does[path] = refusal(path) })
	said := map[string]string{}
	read(t, made, false, said)
	read(t, not, true, said)
	if diff := cmp.Diff(does, said); diff != "" {
		t.Errorf("fields and why they are refused (-code +documentation):\n%s", diff)
	}
}

// read reads a table: the fields in the first column, and the second one of those that are refused.
func read(t *testing.T, table string, refused bool, said map[string]string) {
	t.Helper()
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\| (.*?) ?\\|$").FindAllStringSubmatch(table, -1) {
		for _, name := range strings.Split(row[1], ", ") {
			name = "spec." + strings.Trim(name, "`")
			if _, twice := said[name]; twice {
				t.Errorf("%s has two rows", name)
			}
			if said[name] = ""; refused {
				said[name] = row[2]
			}
		}
	}
}

// visit tells of each field of a type, no deeper than the list of those that are honoured goes.
func visit(path string, of reflect.Type, tell func(path string)) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		child := path + "." + name
		deeper := false
		for _, known := range honoured {
			deeper = deeper || strings.HasPrefix(known, child+".")
		}
		if deeper {
			visit(child, of.Field(i).Type, tell)
		} else {
			tell(child)
		}
	}
}
