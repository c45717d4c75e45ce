// SPDX-License-Identifier: Apache-2.0

package sso

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/ssoadmin/types"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	subject = `<s:Subject><s:NameID ` +
		`Format="http://schemas.xmlsoap.org/claims/UPN">Administrator@VSPHERE.LOCAL</s:NameID></s:Subject>`
	conditions = `<s:Conditions NotBefore="2026-03-01T11:59:00.000Z" NotOnOrAfter="2026-03-01T12:04:00.000Z"/>`
	attributes = `<s:AttributeStatement>` +
		`<s:Attribute FriendlyName="Groups" Name="http://rsa.com/schemas/attr-names/2009/01/GroupIdentity">` +
		`<s:AttributeValue>vsphere.local\Administrators</s:AttributeValue><s:AttributeValue>CORP.TEST\R&amp;D, "special" ` +
		`ümlaut</s:AttributeValue>` +
		`<s:AttributeValue>no ` +
		`domain</s:AttributeValue><s:AttributeValue>vsphere.local\line&#10;break</s:AttributeValue><s:AttributeValue>corp.test\a@b</s:AttributeValue>` +
		`<s:AttributeValue>evil\vsphere.local\Administrators</s:AttributeValue></s:Attribute>` +
		`<s:Attribute ` +
		`Name="http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname"><s:AttributeValue>vsphere.local\Injected</s:AttributeValue></s:Attribute>` +
		`</s:AttributeStatement>`
)

func assertionOf(parts ...string) string {
	return `<s:Assertion xmlns:s="urn:oasis:names:tc:SAML:2.0:assertion" ID="_1">` + strings.Join(parts, "") +
		`</s:Assertion>`
}

func TestReadAssertion(t *testing.T) {
	id, groups, err := readAssertion(assertionOf(subject, conditions, attributes), noon)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(types.PrincipalId{Name: "Administrator", Domain: "vsphere.local"}, id); diff != "" {
		t.Errorf("subject (-want +got):\n%s", diff)
	}
	want := []string{"Administrators@vsphere.local", `R&D, "special" ümlaut@corp.test`, "a@b@corp.test"}
	if diff := cmp.Diff(want, groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	// A comment must not cut a name short.
	commented := strings.Replace(subject, "VSPHERE.LOCAL", "VSPHERE.LOCAL<!-- -->.evil.test", 1)
	if id, _, err := readAssertion(assertionOf(commented, conditions), noon); err == nil &&
		id.Domain != "vsphere.local.evil.test" {
		t.Errorf("a comment makes it %+v", id)
	}
}

func TestAssertionsThatAreRefused(t *testing.T) {
	other := strings.Replace(subject, "Administrator", "dev", 1)
	nested := `<s:Advice>` + assertionOf(subject, conditions) + `</s:Advice>`
	for name, text := range map[string]string{
		"nothing": "",
		"not XML": "<s:Assertion",
		"another element": `<s:Response xmlns:s="urn:oasis:names:tc:SAML:2.0:assertion">` + subject + conditions +
			`</s:Response>`,
		"SAML 1": `<s:Assertion xmlns:s="urn:oasis:names:tc:SAML:1.0:assertion">` + subject + conditions +
			`</s:Assertion>`,
		"no subject":   assertionOf(conditions),
		"two subjects": assertionOf(other, subject, conditions),
		"two names": assertionOf(strings.Replace(subject, "</s:NameID>",
			"</s:NameID><s:NameID>dev@vsphere.local</s:NameID>", 1), conditions),
		"a subject only within": assertionOf(nested, conditions),
		"no validity":           assertionOf(subject),
		"two validities":        assertionOf(subject, conditions, conditions),
		"no begin":              assertionOf(subject, `<s:Conditions NotOnOrAfter="2026-03-01T12:04:00.000Z"/>`),
		"an expired one, as canned": assertionOf(subject,
			`<s:Conditions NotBefore="2018-03-04T00:22:01.401Z" NotOnOrAfter="2018-03-04T00:27:01.401Z"/>`),
		"one of tomorrow": assertionOf(subject,
			`<s:Conditions NotBefore="2026-03-02T12:00:00.000Z" NotOnOrAfter="2026-03-02T12:05:00.000Z"/>`),
		"a name without a domain": assertionOf(`<s:Subject><s:NameID>Administrator</s:NameID></s:Subject>`, conditions),
		"a line break in the name": assertionOf(`<s:Subject><s:NameID>Admin&#10;@vsphere.local</s:NameID></s:Subject>`,
			conditions),
	} {
		t.Run(name, func(t *testing.T) {
			if id, groups, err := readAssertion(text, noon); err == nil {
				t.Errorf("read as %+v in %q", id, groups)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a@b", `B\a`, "a@b@c", `a\b\c`, "@", `\`, "a@", "\x00@b", "ａ@Ｂ.test", "K@b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := parse(text)
		if !ok {
			return
		}
		again, ok := parse(format(id))
		if !ok || again != id {
			t.Errorf("%q is %+v, and then %+v", text, id, again)
		}
		if strings.ContainsAny(fmt.Sprint(id), "\n\r\x00") {
			t.Errorf("%q keeps a control character: %+v", text, id)
		}
	})
}
