// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestDecode(t *testing.T) {
	for in, want := range map[string]string{
		"plain":         "plain",
		"a%2fb":         "a/b",
		"a%2Fb%5cc%25d": `a/b\c%d`,
		"100%":          "100%",
		"%2":            "%2",
		"%41":           "%41",
		"%252f":         "%2f",
	} {
		if got := Decode(in); got != want {
			t.Errorf("Decode(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSlug(t *testing.T) {
	hash := Hash("vm-1", 0)
	for _, test := range []struct {
		name  string
		limit int
		want  string
	}{
		{"Web Server 01", 63, "web-server-01-" + hash},
		{"  --a__b--  ", 63, "a-b-" + hash},
		{"", 63, "vm-" + hash},
		{"日本語", 63, "vm-" + hash},
		{"Büro", 63, "b-ro-" + hash},
		{"a/b\\c%", 63, "a-b-c-" + hash},
		{strings.Repeat("X", 300), 63, strings.Repeat("x", 56) + "-" + hash},
		{strings.Repeat("x", 55) + " y", 63, strings.Repeat("x", 55) + "-" + hash},
		{strings.Repeat("ab ", 100), 253, strings.TrimRight(strings.Repeat("ab-", 100)[:246], "-") + "-" + hash},
	} {
		got := Slug(test.name, "vm", "vm-1", 0, test.limit)
		if got != test.want {
			t.Errorf("Slug(%q, %d) = %q, want %q", test.name, test.limit, got, test.want)
		}
		if len(got) > test.limit || len(validation.IsDNS1123Subdomain(got)) > 0 {
			t.Errorf("Slug(%q, %d) = %q is no valid name of that length", test.name, test.limit, got)
		}
	}
}

// Two in 20,000 ids may share the shortest hash; that names made of it are taken is foreseen.
func TestHashesAreSpread(t *testing.T) {
	seen := map[string]bool{}
	for i := range 20_000 {
		h := Hash("vm-"+strconv.Itoa(i), 0)
		if len(h) != 6 || strings.Trim(h, alphabet) != "" {
			t.Fatalf("vm-%d: hash %q", i, h)
		}
		seen[h] = true
	}
	if len(seen) < 19_995 {
		t.Errorf("only %d of 20000 hashes differ", len(seen))
	}
}

func TestHashAttemptsDiffer(t *testing.T) {
	seen := map[string]int{}
	for attempt := range 6 {
		h := Hash("vm-42", attempt)
		if other, ok := seen[h]; ok {
			t.Errorf("attempts %d and %d both give %q", other, attempt, h)
		}
		seen[h] = attempt
	}
}

func TestNamespaceNames(t *testing.T) {
	slug := func(name, id string) string { return Slug(name, "folder", id, 0, 63) }
	for _, test := range []struct{ name, want string }{
		{"team-a", "team-a"},
		{"Team A", slug("Team A", "group-v1")},
		{"default", slug("default", "group-v1")},
		{"kube-system", slug("folder kube-system", "group-v1")},
		{"vmware-system-x", slug("folder vmware-system-x", "group-v1")},
		{"pacific-system", slug("pacific-system", "group-v1")},
		{"a.b", slug("a.b", "group-v1")},
		{strings.Repeat("a", 63), strings.Repeat("a", 63)},
		{strings.Repeat("a", 64), slug(strings.Repeat("a", 64), "group-v1")},
		{"kube%2fx", slug("folder kube/x", "group-v1")},
	} {
		tree := NewTree("root")
		tree.Set("group-v1", test.name, "root")
		if diff := cmp.Diff([]Namespace{{Name: test.want, Folder: "group-v1", Path: Decode(test.name)}},
			tree.Namespaces()); diff != "" {
			t.Errorf("folder %q (-want +got):\n%s", test.name, diff)
		}
		if Reserved(test.want) || len(validation.IsDNS1123Label(test.want)) > 0 {
			t.Errorf("folder %q: namespace %q is reserved or invalid", test.name, test.want)
		}
	}
}
