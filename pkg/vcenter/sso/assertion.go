// SPDX-License-Identifier: Apache-2.0

package sso

import (
	"encoding/xml"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/ssoadmin/types"
)

const (
	groupsAttribute = "http://rsa.com/schemas/attr-names/2009/01/GroupIdentity"
	assertionSpace  = "urn:oasis:names:tc:SAML:2.0:assertion"
	// skew is how far apart vCenter's clock and ours may be.
	skew = 10 * time.Minute
)

// readAssertion returns the subject and the groups of an assertion that the
// token service has just answered with. Its signature is not looked at: that the
// answer is the token service's is what TLS proves, and nobody else hands us
// assertions.
func readAssertion(text string, now time.Time) (types.PrincipalId, []string, error) {
	var a struct {
		XMLName  xml.Name
		Subjects []struct {
			Names []string `xml:"NameID"`
		} `xml:"Subject"`
		Conditions []struct {
			NotBefore    string `xml:",attr"`
			NotOnOrAfter string `xml:",attr"`
		}
		Attributes []struct {
			Name   string   `xml:",attr"`
			Values []string `xml:"AttributeValue"`
		} `xml:"AttributeStatement>Attribute"`
	}
	none := types.PrincipalId{}
	if err := xml.Unmarshal([]byte(text), &a); err != nil {
		return none, nil, errors.New("the assertion is not XML")
	}
	if a.XMLName.Space != assertionSpace || a.XMLName.Local != "Assertion" {
		return none, nil, errors.New("the token is not a SAML 2.0 assertion")
	}
	if len(a.Subjects) != 1 || len(a.Subjects[0].Names) != 1 || len(a.Conditions) != 1 {
		return none, nil, errors.New("the assertion does not have exactly one subject with one name and one validity")
	}
	from, err := time.Parse(time.RFC3339, a.Conditions[0].NotBefore)
	if err != nil {
		return none, nil, errors.New("the assertion has no begin")
	}
	to, err := time.Parse(time.RFC3339, a.Conditions[0].NotOnOrAfter)
	if err != nil {
		return none, nil, errors.New("the assertion has no end")
	}
	if now.Add(skew).Before(from) || now.Add(-skew).After(to) {
		return none, nil, fmt.Errorf("the assertion is valid from %s to %s, not now: are the clocks right?",
			from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	subject, ok := parse(a.Subjects[0].Names[0])
	if !ok {
		return none, nil, errors.New("the assertion's subject is not like user@domain")
	}
	var groups []string
	for _, attribute := range a.Attributes {
		if attribute.Name != groupsAttribute {
			continue
		}
		for _, value := range attribute.Values {
			if id, ok := parse(value); ok {
				groups = append(groups, format(id))
			}
		}
	}
	return subject, groups, nil
}
