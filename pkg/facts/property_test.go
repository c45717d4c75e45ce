// SPDX-License-Identifier: Apache-2.0

package facts_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/facts"
)

func TestPropertyValue(t *testing.T) {
	tests := []struct{ kind, value, want, wrong string }{
		{"string", "hush", "hush", ""},
		{"string", strings.Repeat("a", 65536), "", "has to have at most 65535 characters"},
		{"string(2..)", "a", "", "has to have at least 2 characters"},
		{"password(..3)", "hush", "", "has to have at most 3 characters"},
		{"string(2..3)", "äöü", "äöü", ""},
		{`string["small", "large"]`, "large", "large", ""},
		{`string["small", "large"]`, "hush", "", `has to be one of "small", "large"`},
		{"boolean", "true", "True", ""},
		{"boolean", "FALSE", "False", ""},
		{"boolean", "hush", "", "has to be True or False"},
		{"int", "-7", "-7", ""},
		{"int", "4294967296", "", "has to be an integer"},
		{"int(0..255)", "256", "", "has to have at most 255"},
		{"int(0..4294967296)", "4294967295", "4294967295", ""},
		{"int(-5..5)", "-6", "", "has to have at least -5"},
		{"real", "1e3", "1e3", ""},
		{"real(-1.5..1.5)", "1.6", "", "has to have at most 1.5"},
		{"real(-1.5..1.5)", "-1.5", "-1.5", ""},
		{"ip", "2001:db8::1", "2001:db8::1", ""},
		{"ip", "hush", "", "has to be an IPv4 or IPv6 address"},
		{"ip:VM Network", "192.0.2.1", "", "is worked out by vCenter: leave it out"},
		{"expression", "hush", "", "is worked out by vCenter: leave it out"},
		{"of another time", "any", "any", ""},
	}
	for _, test := range tests {
		got, err := facts.Property{Key: "k", Type: test.kind}.Value(test.value)
		var wrong string
		if err != nil {
			got, wrong = "", err.Error()
		}
		if got != test.want || wrong != test.wrong {
			t.Errorf("%s: %.10q is %.10q, %q; want %.10q, %q", test.kind, test.value, got, wrong, test.want, test.wrong)
		}
	}
}

func TestPropertyValues(t *testing.T) {
	properties := []facts.Property{{Key: "a", Type: "string", UserConfigurable: true}, {Key: "b", Type: "int", UserConfigurable: true},
		{Key: "c", Type: "string"}}
	got, err := facts.PropertyValues(properties, map[string]string{"a": "x"})
	if diff := cmp.Diff(map[string]string{"a": "x"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, test := range []struct {
		values map[string]string
		want   string
	}{
		{map[string]string{"b": "hush"}, `the property "b" has to be an integer`},
		{map[string]string{"c": "x"}, `the property "c" is not for people to set`},
		{map[string]string{"d": "x"}, `there is no property "d": there are a, b`},
	} {
		if _, err := facts.PropertyValues(properties, test.values); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	if err := facts.NoProperty(nil, "d"); err.Error() != `there is no property "d": the image has none that people may set` {
		t.Error(err)
	}
}
