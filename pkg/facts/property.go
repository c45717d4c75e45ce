// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Property is one by which machines are told what they are to be.
type Property struct {
	Key, Type, Default string
	// Class and Instance tell it from others of its key, in an image of several products.
	Class, Instance string
	// UserConfigurable says that it is for people to set.
	UserConfigurable bool
}

// longestText is how many characters a value may have.
const longestText = 65535

// limited is a type with the smallest and the largest value, or length, either of which may be missing.
var limited = regexp.MustCompile(`^(string|password|int|real)\(([^.()]*(?:\.[0-9]+)?)\.\.([^()]*)\)$`)

// Value gives a value as vCenter takes it for the property. The error says what it takes instead, and not the value,
// which may be a secret.
func (p Property) Value(value string) (string, error) {
	base, low, high := p.Type, "", ""
	if parts := limited.FindStringSubmatch(p.Type); parts != nil {
		base, low, high = parts[1], parts[2], parts[3]
	}
	choices, isChoice := strings.CutPrefix(p.Type, "string[")
	switch {
	case isChoice:
		if strings.Contains(value, `"`) || !strings.Contains(choices, strconv.Quote(value)) {
			return "", fmt.Errorf("has to be one of %s", strings.TrimSuffix(choices, "]"))
		}
	case base == "string", base == "password":
		return value, ranged(float64(utf8.RuneCountInString(value)), low, high, longestText, "characters")
	case base == "int":
		number, err := strconv.ParseInt(value, 10, 64)
		if err != nil || low == "" && high == "" && int64(int32(number)) != number {
			return "", errors.New("has to be an integer")
		}
		return value, ranged(float64(number), low, high, 0, "")
	case base == "real":
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return "", errors.New("has to be a number")
		}
		return value, ranged(number, low, high, 0, "")
	case base == "boolean":
		truth, err := strconv.ParseBool(strings.ToLower(value))
		if err != nil {
			return "", errors.New("has to be True or False")
		}
		return map[bool]string{true: "True", false: "False"}[truth], nil
	case base == "ip":
		if _, err := netip.ParseAddr(value); err != nil {
			return "", errors.New("has to be an IPv4 or IPv6 address")
		}
	case base == "expression", strings.HasPrefix(base, "ip:"):
		return "", errors.New("is worked out by vCenter: leave it out")
	}
	return value, nil
}

// ranged says why a number is not between two others. Without either, most is the most, 0 for no limit.
func ranged(number float64, low, high string, most float64, of string) error {
	smallest, lowErr := strconv.ParseFloat(low, 64)
	largest, highErr := strconv.ParseFloat(high, 64)
	if highErr != nil && most > 0 {
		largest, highErr = most, nil
	}
	if of != "" {
		of = " " + of
	}
	switch {
	case lowErr == nil && number < smallest:
		return fmt.Errorf("has to have at least %v%s", smallest, of)
	case highErr == nil && number > largest:
		return fmt.Errorf("has to have at most %v%s", largest, of)
	}
	return nil
}

// PropertyValues gives values as vCenter takes them for properties that people may set, by their keys. An error names
// the property.
func PropertyValues(properties []Property, values map[string]string) (map[string]string, error) {
	fitting := map[string]string{}
	for _, property := range properties {
		value, found := values[property.Key]
		if !found || !property.UserConfigurable {
			continue
		}
		fits, err := property.Value(value)
		if err != nil {
			return nil, fmt.Errorf("the property %q %w", property.Key, err)
		}
		fitting[property.Key] = fits
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if _, found := fitting[key]; !found {
			return nil, NoProperty(properties, key)
		}
	}
	return fitting, nil
}

// NoProperty says that nobody may set a property of that key, and which there are.
func NoProperty(properties []Property, key string) error {
	var known []string
	for _, property := range properties {
		switch {
		case property.UserConfigurable:
			known = append(known, property.Key)
		case property.Key == key:
			return fmt.Errorf("the property %q is not for people to set", key)
		}
	}
	if len(known) == 0 {
		return fmt.Errorf("there is no property %q: the image has none that people may set", key)
	}
	return fmt.Errorf("there is no property %q: there are %s", key, strings.Join(known, ", "))
}
