// SPDX-License-Identifier: Apache-2.0

package facts_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/facts"
)

func TestIDAsText(t *testing.T) {
	tests := []struct {
		id   facts.ID
		text string
	}{
		{facts.ID{}, ""},
		{facts.ID{VCenter: "5b9c", Type: "Folder", Value: "group-v12"}, "5b9c/Folder/group-v12"},
		{facts.ID{Type: "VirtualMachine", Value: "vm-1"}, "/VirtualMachine/vm-1"},
	}
	for _, test := range tests {
		if got := test.id.String(); got != test.text {
			t.Errorf("%#v is %q, want %q", test.id, got, test.text)
		}
		if got, err := facts.ParseID(test.text); got != test.id || err != nil {
			t.Errorf("%q is read as %#v, %v, want %#v", test.text, got, err, test.id)
		}
		if got := test.id.IsZero(); got != (test.text == "") {
			t.Errorf("%#v is zero: %v", test.id, got)
		}
	}
}

func TestIDRefusesOtherText(t *testing.T) {
	for _, text := range []string{"group-v12", "Folder/group-v12", "5b9c/Folder/", "5b9c//group-v12",
		"5b9c/Folder/group/v12", "//", "/"} {
		if got, err := facts.ParseID(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is read as %#v, %v, want an error that names it", text, got, err)
		}
	}
	for _, id := range []facts.ID{{VCenter: "5b9c"}, {Type: "Folder"},
		{VCenter: "a/b", Type: "Folder", Value: "group-v12"}, {Type: "Folder", Value: "group/v12"}} {
		if got, err := id.MarshalText(); err == nil {
			t.Errorf("%#v is written as %q, want an error", id, got)
		}
	}
}

func TestIDInJSON(t *testing.T) {
	type record struct {
		Folder  facts.ID            `json:"folder"`
		Nothing facts.ID            `json:"nothing,omitzero"`
		Names   map[facts.ID]string `json:"names"`
	}
	id := facts.ID{VCenter: "5b9c", Type: "Folder", Value: "group-v12"}
	before := record{Folder: id, Names: map[facts.ID]string{id: "team-a"}}
	text, err := json.Marshal(before)
	if want := `{"folder":"5b9c/Folder/group-v12","names":{"5b9c/Folder/group-v12":"team-a"}}`; string(text) != want ||
		err != nil {
		t.Errorf("written as %s, %v, want %s", text, err, want)
	}
	var after record
	if err := json.Unmarshal(text, &after); err != nil {
		t.Errorf("read: %v", err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	kept := record{Folder: id}
	if err := json.Unmarshal([]byte(`{"folder":"group-v12"}`), &kept); err == nil || kept.Folder != id {
		t.Errorf("text of another form is read as %#v, %v, want an error and nothing changed", kept.Folder, err)
	}
}
