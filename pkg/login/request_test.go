// SPDX-License-Identifier: Apache-2.0

package login

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever the body is, it is refused or read as every other reader would.
func FuzzReadGuest(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"guest_cluster_name":"a","guest_cluster_namespace":"b"}`, `{"a":1}`, "[]",
		`{"guest_cluster_name":"\ud800"}`, " { } ", "{}{}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		asked, wrong := readGuest(httptest.NewRecorder(), httptest.NewRequest("POST", "/wcp/login", strings.NewReader(body)))
		if wrong != nil {
			if wrong.status != 400 && wrong.status != 413 || asked != (guest{}) {
				t.Errorf("%q: %+v, %+v", body, wrong, asked)
			}
			return
		}
		if strings.TrimSpace(body) == "" {
			return
		}
		var loose map[string]any
		if err := json.Unmarshal([]byte(body), &loose); err != nil {
			t.Fatalf("%q is accepted: %v", body, err)
		}
		name, _ := loose["guest_cluster_name"].(string)
		namespace, _ := loose["guest_cluster_namespace"].(string)
		if asked != (guest{name, namespace}) {
			t.Errorf("%q is read as %+v", body, asked)
		}
	})
}

func FuzzParseUsername(f *testing.F) {
	for _, seed := range []string{"a@b", `B\a`, "a", "a@b@c", "K@vsphere.local", "\u0130@x"} {
		f.Add(seed)
	}
	s := &Service{DefaultDomain: "vsphere.local", DomainAliases: map[string]string{"v": "vsphere.local"}}
	f.Fuzz(func(t *testing.T, text string) {
		name, ok := s.parseUsername(text)
		if !ok {
			return
		}
		again, ok := s.parseUsername(name.asked)
		if !ok || again != name {
			t.Errorf("%q is %+v, and then %+v", text, name, again)
		}
		if upper, ok := s.parseUsername(strings.ToUpper(text)); ok && upper.key != name.key {
			t.Errorf("%q is counted as %q, in upper case as %q", text, name.key, upper.key)
		}
		if strings.ContainsAny(name.asked, "\r\n\x00") {
			t.Errorf("%q keeps a control character", text)
		}
	})
}
