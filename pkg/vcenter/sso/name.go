// SPDX-License-Identifier: Apache-2.0

package sso

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vmware/govmomi/ssoadmin/types"
)

// parse reads name@domain, where the last @ counts, and DOMAIN\name. The domain
// comes out in lower case, the name as it is.
func parse(text string) (types.PrincipalId, bool) {
	var id types.PrincipalId
	if domain, name, ok := strings.Cut(text, `\`); ok {
		id.Name, id.Domain = name, domain
	} else if at := strings.LastIndex(text, "@"); at >= 0 {
		id.Name, id.Domain = text[:at], text[at+1:]
	}
	return canonical(id)
}

// canonical returns a principal with its domain in lower case. Not all that a
// directory may hold can be written as name@domain and read in one way only.
func canonical(id types.PrincipalId) (types.PrincipalId, bool) {
	id.Domain = strings.ToLower(id.Domain)
	return id, printable(id.Name) && printable(id.Domain) &&
		!strings.Contains(id.Name, `\`) && !strings.ContainsAny(id.Domain, `@\/ :`)
}

// printable refuses what could break a log line, a header or a comparison.
func printable(text string) bool {
	return text != "" && len(text) <= 512 && utf8.ValidString(text) && strings.TrimSpace(text) == text &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

func format(id types.PrincipalId) string { return id.Name + "@" + id.Domain }

// same says whether two principals are one: single sign-on ignores case.
func same(a, b types.PrincipalId) bool {
	return strings.EqualFold(a.Name, b.Name) && strings.EqualFold(a.Domain, b.Domain)
}
