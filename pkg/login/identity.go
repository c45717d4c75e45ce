// SPDX-License-Identifier: Apache-2.0

package login

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Identity is who has logged in, as vCenter calls them.
type Identity struct {
	// Username and Domain; the domain is in lower case.
	Username, Domain string
	// Groups are name@domain, nested ones included.
	Groups []string
}

// Name is user@domain. Kubernetes knows the user by it with the prefix "sso:".
func (i Identity) Name() string { return i.Username + "@" + i.Domain }

const (
	maxUsername = 256
	maxPassword = 1024
)

// username is the name that a request gave.
type username struct {
	// asked goes to vCenter: user@domain, with the case that was given.
	asked string
	// user is the part before the domain.
	user string
	// key is one for all spellings that can be seen to mean one account.
	key string
}

// parseUsername reads user@domain, DOMAIN\user, and with a default domain a bare
// user.
func (s *Service) parseUsername(text string) (username, bool) {
	if text == "" || len(text) > maxUsername || strings.TrimSpace(text) != text || !printable(text) {
		return username{}, false
	}
	user, domain := text, s.DefaultDomain
	if before, after, ok := strings.Cut(text, `\`); ok {
		domain, user = before, after
	} else if at := strings.LastIndex(text, "@"); at >= 0 {
		user, domain = text[:at], text[at+1:]
	}
	if user == "" || domain == "" || strings.TrimSpace(user) != user || strings.TrimSpace(domain) != domain ||
		strings.ContainsAny(user, `\`) || strings.ContainsAny(domain, `\@/: `) {
		return username{}, false
	}
	domain = strings.ToLower(domain)
	if real, ok := s.DomainAliases[domain]; ok {
		domain = strings.ToLower(real)
	}
	return username{asked: user + "@" + domain, user: user, key: fold(user) + "@" + fold(domain)}, true
}

// fold makes spellings equal that vCenter may take for one, some letters outside
// ASCII included.
func fold(text string) string { return strings.ToLower(strings.ToUpper(text)) }

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// canBePassword refuses what cannot be sent to vCenter as it is, so what no
// password can be there.
func canBePassword(text string) bool {
	return text != "" && len(text) <= maxPassword && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, unicode.IsControl)
}

// parseIdentity reads the name that a Prover vouched for.
func parseIdentity(name string, groups []string) (Identity, bool) {
	at := strings.LastIndex(name, "@")
	if at < 1 || at == len(name)-1 || !printable(name) {
		return Identity{}, false
	}
	return Identity{Username: name[:at], Domain: strings.ToLower(name[at+1:]), Groups: groups}, true
}
