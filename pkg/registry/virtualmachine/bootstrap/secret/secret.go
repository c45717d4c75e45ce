// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/failure"
)

// maxPlain is how much of what is compressed is looked at.
const maxPlain = 16 << 20

// Secrets are read one at a time.
type Secrets interface {
	// Data returns what a Secret has, by its keys, and an error that wraps failure.NotFound where there is none.
	Data(ctx context.Context, namespace, name string) (map[string][]byte, error)
}

// Reference is where a spec names a Secret.
type Reference struct {
	Path *field.Path
	Name string
	// Key is the value that is meant, and Other are keys that do as well.
	Key   string
	Other []string
	// Whole says that all of it is meant, and that the field has a name alone.
	Whole bool
	// Bytes says that what is meant may be anything. Else it is a text.
	Bytes bool
}

// Validate refuses half the name of a value.
func (r Reference) Validate() (errs field.ErrorList) {
	if r.Whole {
		return nil
	}
	if r.Name == "" {
		errs = append(errs, field.Required(r.Path.Child("name"), "name the Secret"))
	}
	if r.Key == "" {
		hint := "name the key in the Secret"
		if len(r.Other) > 0 {
			hint += ", such as " + r.Other[0]
		}
		errs = append(errs, field.Required(r.Path.Child("key"), hint))
	}
	return errs
}

// Values are what the Secrets of a spec have, by the paths of the fields that name them.
type Values struct {
	single map[string][]byte
	whole  map[string]map[string][]byte
}

// Of is the value that the field of a path names.
func (v Values) Of(path *field.Path) []byte { return v.single[path.String()] }

// All are the values of a Secret that the field of a path names as a whole.
func (v Values) All(path *field.Path) map[string][]byte { return v.whole[path.String()] }

// Read reads what references name, each Secret once.
func Read(ctx context.Context, secrets Secrets, namespace string, references []Reference) (Values, error) {
	values := Values{single: map[string][]byte{}, whole: map[string]map[string][]byte{}}
	known := map[string]map[string][]byte{}
	for _, reference := range references {
		data, found := known[reference.Name]
		if !found {
			var err error
			data, err = secrets.Data(ctx, namespace, reference.Name)
			if err != nil && !errors.Is(err, failure.NotFound) {
				return Values{}, fmt.Errorf("%s: %w", reference.Path, err)
			}
			known[reference.Name] = data
		}
		value, found := reference.value(data)
		if reference.Whole && data == nil || !reference.Whole && !found {
			return Values{}, fmt.Errorf("%s: there is no %s in the namespace %q: create it: %w", reference.Path,
				reference.described(), namespace, failure.NotFound)
		}
		if reference.Whole {
			values.whole[reference.Path.String()] = data
		} else {
			data = map[string][]byte{reference.Key: value}
			values.single[reference.Path.String()] = value
		}
		for _, key := range slices.Sorted(maps.Keys(data)) {
			if !reference.Bytes && !IsText(string(data[key])) {
				return Values{}, fmt.Errorf("%s: the key %q of the Secret %q %s: %w", reference.Path, key, reference.Name, NoText,
					failure.Invalid)
			}
		}
	}
	return values, nil
}

// NoText is what is wrong with what IsText says no to.
const NoText = "is no text in UTF-8, or has control characters in it, which nobody can be told"

// IsText says whether a guest can be told a text as it is. vCenter is told it in XML: of control characters that knows
// tabs and ends of lines alone, and what is not UTF-8, such as a file in UTF-16, would become something else in silence.
func IsText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' && !strings.ContainsRune("\t\r\n", r) || r == '\uFFFE' || r == '\uFFFF'
	})
}

func (r Reference) value(data map[string][]byte) ([]byte, bool) {
	for _, key := range append([]string{r.Key}, r.Other...) {
		if value, found := data[key]; found {
			return value, true
		}
	}
	return nil, false
}

func (r Reference) described() string {
	if r.Whole {
		return fmt.Sprintf("Secret %q", r.Name)
	}
	return fmt.Sprintf("Secret %q with a key %q", r.Name, r.Key)
}

// Text is a value without the end of its line, which whoever makes a Secret of a file has in it, and which is in no
// password.
func Text(value []byte) string { return string(bytes.TrimRight(value, "\r\n")) }

// Plain is what a value says, which may be encoded in base64, and compressed before that.
func Plain(value []byte) ([]byte, error) {
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(value)))
	if err != nil {
		decoded = value
	}
	if !bytes.HasPrefix(decoded, []byte{0x1f, 0x8b}) {
		return decoded, nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(decoded))
	if err != nil {
		return nil, fmt.Errorf("it is compressed, and damaged: %w", failure.Invalid)
	}
	text, err := io.ReadAll(io.LimitReader(reader, maxPlain+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("it is compressed, and damaged: %w", failure.Invalid)
	case len(text) > maxPlain:
		return nil, fmt.Errorf("it is longer than %d bytes: make it shorter: %w", maxPlain, failure.Invalid)
	}
	return text, nil
}
