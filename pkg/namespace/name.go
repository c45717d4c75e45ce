// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"crypto/sha256"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// alphabet has no vowels, so that no hash is a word, and no characters that look alike: the one of Kubernetes'
// generated names.
const alphabet = "bcdfghjklmnpqrstvwxz2456789"

// hashLengths are the lengths of the hash in the first, second and every later attempt at a name that is free. Six
// characters of a 27 letter alphabet tell 387 million ids apart.
var hashLengths = [...]int{6, 10, 16}

// Decode undoes the escapes that vCenter puts into inventory names for the three characters that its paths give a
// meaning: slash, backslash and percent.
func Decode(name string) string {
	if !strings.Contains(name, "%") {
		return name
	}
	var b strings.Builder
	b.Grow(len(name))
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+2 < len(name) {
			switch strings.ToLower(name[i+1 : i+3]) {
			case "2f":
				b.WriteByte('/')
				i += 2
				continue
			case "5c":
				b.WriteByte('\\')
				i += 2
				continue
			case "25":
				b.WriteByte('%')
				i += 2
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// Hash is a short, stable fingerprint of a managed-object id. Attempt 0 is the usual one; a higher attempt gives
// another and longer one, for the case that the name made from it is taken.
func Hash(id string, attempt int) string {
	length := hashLengths[min(attempt, len(hashLengths)-1)]
	if attempt >= len(hashLengths) {
		id += "#" + strconv.Itoa(attempt)
	}
	sum := sha256.Sum256([]byte(id))
	text := make([]byte, length)
	for i := range text {
		text[i] = alphabet[int(sum[i])%len(alphabet)]
	}
	return string(text)
}

// Slug makes a DNS-1123 label of at most limit characters out of any name: its letters and digits in lower case, each
// run of other characters as one hyphen, then a hyphen and the hash of the id, so that no two objects of vCenter get
// the same. A name without any letter or digit of ASCII becomes fallback and the hash.
func Slug(name, fallback, id string, attempt, limit int) string {
	hash := Hash(id, attempt)
	room := limit - len(hash) - 1
	var b strings.Builder
	b.Grow(limit)
	hyphen := false
	for i := 0; i < len(name) && b.Len() < room; i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if ('a' <= c && c <= 'z') || ('0' <= c && c <= '9') {
			if hyphen && b.Len() > 0 {
				b.WriteByte('-')
			}
			hyphen = false
			if b.Len() < room {
				b.WriteByte(c)
			}
			continue
		}
		hyphen = true
	}
	slug := strings.TrimRight(b.String(), "-")
	if slug == "" {
		slug = fallback
	}
	return slug + "-" + hash
}

// Reserved reports whether a namespace of that name belongs to Kubernetes or to the Supervisor, so that no folder may
// stand for it.
func Reserved(name string) bool {
	return name == "default" || name == "pacific-system" ||
		strings.HasPrefix(name, "kube-") || strings.HasPrefix(name, "vmware-system-")
}

// Label gives the name itself where it is a DNS-1123 label already, else its slug. It names what vCenter keeps unique
// by itself, such as the cluster that stands for a zone.
func Label(name, fallback, id string) string {
	decoded := Decode(name)
	if len(validation.IsDNS1123Label(decoded)) == 0 {
		return decoded
	}
	return Slug(decoded, fallback, id, 0, validation.DNS1123LabelMaxLength)
}

// Candidates are the names under which a folder may be served that is called so in vCenter, the most wanted first: its
// own, where Kubernetes accepts that, and then longer and longer hashes of its id.
func Candidates(path, id string) []string {
	names := make([]string, len(hashLengths)+1)
	for attempt := range names {
		names[attempt] = candidate(path, id, attempt)
	}
	return names
}

// candidate is the name that a folder directly below the namespaces folder asks for at the given attempt.
func candidate(name, id string, attempt int) string {
	decoded := Decode(name)
	if natural(decoded) {
		if attempt == 0 {
			return decoded
		}
		attempt--
	}
	slug := Slug(decoded, "folder", id, attempt, validation.DNS1123LabelMaxLength)
	if Reserved(slug) {
		slug = Slug("folder "+decoded, "folder", id, attempt, validation.DNS1123LabelMaxLength)
	}
	return slug
}

func natural(decoded string) bool {
	return len(validation.IsDNS1123Label(decoded)) == 0 && !Reserved(decoded)
}
