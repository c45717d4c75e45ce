// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sorted(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}

func TestTreeLocatesAndReportsWhatAChangeAffects(t *testing.T) {
	tree := NewTree("root")
	// A child may arrive before its parent.
	tree.Set("deep", "Deep", "sub")
	tree.Set("sub", "Sub", "a")
	if got := tree.Locate("deep"); got != (Place{}) {
		t.Errorf("below an unknown folder: %+v", got)
	}
	if diff := cmp.Diff([]string{"a", "deep", "sub"}, sorted(tree.Set("a", "team-a", "root"))); diff != "" {
		t.Errorf("affected by the parent's arrival (-want +got):\n%s", diff)
	}
	tree.Set("b", "team-b", "root")
	for parent, want := range map[string]Place{
		"root":    {},
		"unknown": {},
		"a":       {Namespace: "team-a", Folder: "a", Direct: true},
		"deep":    {Namespace: "team-a", Folder: "a"},
		"b":       {Namespace: "team-b", Folder: "b", Direct: true},
	} {
		if got := tree.Locate(parent); got != want {
			t.Errorf("Locate(%s) = %+v, want %+v", parent, got, want)
		}
	}
	if got := tree.Set("a", "team-a", "root"); got != nil {
		t.Errorf("nothing changed, yet affected: %v", got)
	}
	if got := tree.Set("sub", "Other name", "a"); got != nil {
		t.Errorf("the name of a deeper folder shows nowhere, yet affected: %v", got)
	}
	if diff := cmp.Diff([]string{"a", "deep", "sub"}, sorted(tree.Set("a", "team-c", "root"))); diff != "" {
		t.Errorf("affected by a rename (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"deep", "sub"}, sorted(tree.Set("sub", "Sub", "b"))); diff != "" {
		t.Errorf("affected by a move (-want +got):\n%s", diff)
	}
	if got := tree.Locate("deep"); got != (Place{Namespace: "team-b", Folder: "b"}) {
		t.Errorf("after the move: %+v", got)
	}
	if diff := cmp.Diff([]string{"b", "deep", "sub"}, sorted(tree.Remove("b"))); diff != "" {
		t.Errorf("affected by a removal (-want +got):\n%s", diff)
	}
	if got := tree.Locate("deep"); got != (Place{}) {
		t.Errorf("after the removal: %+v", got)
	}
	if diff := cmp.Diff([]string{"a", "deep", "sub"}, sorted(tree.SetRoot("root2"))); diff != "" {
		t.Errorf("affected by another root (-want +got):\n%s", diff)
	}
	if got := tree.Namespaces(); len(got) != 0 {
		t.Errorf("namespaces below another root: %+v", got)
	}
}

func TestTreeSurvivesACycle(t *testing.T) {
	tree := NewTree("root")
	tree.Set("x", "x", "y")
	tree.Set("y", "y", "x")
	if got := tree.Locate("x"); got != (Place{}) {
		t.Errorf("in a cycle: %+v", got)
	}
	if diff := cmp.Diff([]string{"x", "y"}, sorted(tree.Set("y", "y", "root"))); diff != "" {
		t.Errorf("affected (-want +got):\n%s", diff)
	}
}

// A folder whose own name looks like another's slug keeps it, whichever was seen first.
func TestTreeClash(t *testing.T) {
	taken := Slug("Team", "folder", "group-v2", 0, 63)
	want := []Namespace{
		{Name: taken, Folder: "group-v1", Path: taken},
		{Name: Slug("Team", "folder", "group-v2", 1, 63), Folder: "group-v2", Path: "Team"},
	}
	slices.SortFunc(want, func(a, b Namespace) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	one, two := NewTree("root"), NewTree("root")
	one.Set("group-v1", taken, "root")
	one.Set("group-v2", "Team", "root")
	two.Set("group-v2", "Team", "root")
	two.Set("group-v1", taken, "root")
	if diff := cmp.Diff(want, one.Namespaces()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, two.Namespaces()); diff != "" {
		t.Errorf("other order (-want +got):\n%s", diff)
	}
}
