// SPDX-License-Identifier: Apache-2.0

package vapp

import (
	"fmt"
	"maps"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/secret"
)

// Config is what a spec says of vApp properties.
type Config = vmopv1.VirtualMachineBootstrapVAppConfigSpec

func path() *field.Path { return field.NewPath("spec", "bootstrap", "vAppConfig") }

func rawPath() *field.Path { return path().Child("rawProperties") }

func valuePath(index int) *field.Path { return path().Child("properties").Index(index).Child("value") }

// Validate refuses what no machine can have.
func Validate(config *Config) (errs field.ErrorList) {
	if len(config.Properties) > 0 && config.RawProperties != "" {
		errs = append(errs, field.Forbidden(rawPath(), "cannot be given together with properties"))
	}
	keys := map[string]bool{}
	for i := range config.Properties {
		property, at := &config.Properties[i], path().Child("properties").Index(i)
		switch {
		case property.Key == "":
			errs = append(errs, field.Required(at.Child("key"), "name a property of the image"))
		case keys[property.Key]:
			errs = append(errs, field.Duplicate(at.Child("key"), property.Key))
		}
		keys[property.Key] = true
		if property.Value.From != nil && property.Value.Value != nil {
			errs = append(errs, field.Forbidden(at.Child("value", "value"), "cannot be given together with from"))
		}
		if value := property.Value.Value; value != nil && !secret.IsText(*value) {
			errs = append(errs, field.Invalid(at.Child("value", "value"), *value, secret.NoText))
		}
	}
	return errs
}

// References are the Secrets that properties have their values of.
func References(config *Config) (found []secret.Reference) {
	if config.RawProperties != "" {
		found = append(found, secret.Reference{Path: rawPath(), Name: config.RawProperties, Whole: true})
	}
	for i := range config.Properties {
		if from := config.Properties[i].Value.From; from != nil {
			found = append(found, secret.Reference{Path: valuePath(i).Child("from"), Name: from.Name, Key: from.Key})
		}
	}
	return found
}

// Values are those of the properties, by their keys.
func Values(config *Config, templates *Templates, values secret.Values) (map[string]string, error) {
	filled := map[string]string{}
	for i := range config.Properties {
		property := &config.Properties[i]
		if property.Value.From == nil {
			if err := plainly(config, i, templates, filled); err != nil {
				return nil, err
			}
			continue
		}
		from := valuePath(i).Child("from")
		text, err := templates.Fill(secret.Text(values.Of(from)))
		if err != nil {
			return nil, hushed(from, property.Value.From.Name, property.Value.From.Key)
		}
		filled[property.Key] = text
	}
	data := values.All(rawPath())
	for _, key := range slices.Sorted(maps.Keys(data)) {
		text, err := templates.Fill(secret.Text(data[key]))
		if err != nil {
			return nil, hushed(rawPath(), config.RawProperties, key)
		}
		filled[key] = text
	}
	return filled, nil
}

// plainly fills in a value that stands in the spec.
func plainly(config *Config, index int, templates *Templates, filled map[string]string) error {
	property := &config.Properties[index]
	if property.Value.Value == nil {
		return nil // it keeps the image's
	}
	text, err := templates.Fill(*property.Value.Value)
	if err != nil {
		return fmt.Errorf("%s: the template cannot be filled in: %w: write a brace that is none of a template's as \\{: %w",
			valuePath(index).Child("value"), err, failure.Invalid)
	}
	filled[property.Key] = text
	return nil
}

// hushed says that a template of a Secret is wrong. What is wrong with it has a part of it.
func hushed(path *field.Path, name, key string) error {
	return fmt.Errorf("%s: the key %q of the Secret %q is a template that cannot be filled in: write a brace that is none of "+
		"a template's as \\{: %w", path, key, name, failure.Invalid)
}

// Fits says why an image's machines cannot have what stands in a spec, nil where they can: what is in Secrets shows when
// they are read.
func Fits(vm *vmopv1.VirtualMachine, config *Config, properties []facts.Property) error {
	var cards []facts.Card
	if vm.Spec.Network != nil {
		for range vm.Spec.Network.Interfaces {
			cards = append(cards, facts.Card{MAC: "00:00:00:00:00:00"}) // which vCenter is yet to give them
		}
	}
	templates, err := NewTemplates(vm, cards)
	if err != nil {
		return err
	}
	for i := range config.Properties {
		property, at := &config.Properties[i], path().Child("properties").Index(i)
		known := slices.IndexFunc(properties, func(p facts.Property) bool {
			return p.Key == property.Key && p.UserConfigurable
		})
		if known < 0 {
			return fmt.Errorf("%s: %w: %w", at.Child("key"), facts.NoProperty(properties, property.Key), failure.Invalid)
		}
		if property.Value.From != nil || property.Value.Value == nil {
			continue
		}
		filled := map[string]string{}
		if err := plainly(config, i, templates, filled); err != nil {
			return err
		}
		if _, err := properties[known].Value(filled[property.Key]); err != nil {
			return fmt.Errorf("%s: the property %q %w: %w", valuePath(i).Child("value"), property.Key, err, failure.Invalid)
		}
	}
	return nil
}
