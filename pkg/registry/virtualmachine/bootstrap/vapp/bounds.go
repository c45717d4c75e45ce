// SPDX-License-Identifier: Apache-2.0

package vapp

import (
	"fmt"
	"reflect"
	"regexp"
	"text/template"
)

const (
	// maxRounds is how often the loops of a template may go round, all together.
	maxRounds = 256
	// maxPrinted is how many bytes a function makes at most.
	maxPrinted = 64 << 10
)

// wide is a verb of a format with a width or precision that is another argument, or has too many digits.
var wide = regexp.MustCompile(`%[^a-zA-Z%]*(\*|[0-9]{4})`)

// budget is how often loops may still go round.
type budget struct{ left int }

// each is asked by a loop before it goes through something.
func (b *budget) each(list any) (any, error) {
	value := reflect.ValueOf(list)
	switch value.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
	default:
		return nil, fmt.Errorf("a %T cannot be gone through", list)
	}
	if b.left -= value.Len(); b.left < 0 {
		return nil, fmt.Errorf("its loops go round more than %d times", maxRounds)
	}
	return list, nil
}

// bounded are those functions of every template that make text, with an end to it.
func bounded() template.FuncMap {
	limit := func(make func(...any) string) func(...any) (string, error) {
		return func(arguments ...any) (string, error) {
			total := 0
			for _, argument := range arguments {
				if text, ok := argument.(string); ok {
					total += len(text)
				}
			}
			if total <= maxPrinted {
				if made := make(arguments...); len(made) <= maxPrinted {
					return made, nil
				}
			}
			return "", fmt.Errorf("a function makes more than %d bytes", maxPrinted)
		}
	}
	return template.FuncMap{
		"print": limit(fmt.Sprint), "println": limit(fmt.Sprintln),
		"html": limit(template.HTMLEscaper), "js": limit(template.JSEscaper), "urlquery": limit(template.URLQueryEscaper),
		"printf": func(format string, arguments ...any) (string, error) {
			if wide.MatchString(format) {
				return "", fmt.Errorf("the width in %q is too large", format)
			}
			return limit(func(arguments ...any) string { return fmt.Sprintf(format, arguments...) })(arguments...)
		},
	}
}
