// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"encoding/json"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1cloudinit "github.com/vmware-tanzu/vm-operator/api/v1alpha5/cloudinit"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// encodings are how the content of a file may be given.
var encodings = []vmopv1cloudinit.WriteFileEncoding{
	vmopv1cloudinit.WriteFileEncodingFluffyB64, vmopv1cloudinit.WriteFileEncodingFluffyBase64, vmopv1cloudinit.WriteFileEncodingFluffyGz,
	vmopv1cloudinit.WriteFileEncodingFluffyGzip, vmopv1cloudinit.WriteFileEncodingGzB64, vmopv1cloudinit.WriteFileEncodingGzBase64,
	vmopv1cloudinit.WriteFileEncodingGzipB64, vmopv1cloudinit.WriteFileEncodingGzipBase64, vmopv1cloudinit.WriteFileEncodingTextPlain,
}

// Path is where a spec says what cloud-init is to do.
func Path() *field.Path { return field.NewPath("spec", "bootstrap", "cloudInit") }

// Validate refuses what cloud-init cannot be told.
func Validate(vm *vmopv1.VirtualMachine) (errs field.ErrorList) {
	cloudInit, path := vm.Spec.Bootstrap.CloudInit, Path()
	if network := vm.Spec.Network; network != nil {
		if len(network.Nameservers) > 0 && !ptr.Deref(cloudInit.UseGlobalNameserversAsDefault, true) {
			errs = append(errs, field.Forbidden(field.NewPath("spec", "network", "nameservers"),
				"are told to no guest while spec.bootstrap.cloudInit.useGlobalNameserversAsDefault is false"))
		}
		if len(network.SearchDomains) > 0 && !ptr.Deref(cloudInit.UseGlobalSearchDomainsAsDefault, true) {
			errs = append(errs, field.Forbidden(field.NewPath("spec", "network", "searchDomains"),
				"are told to no guest while spec.bootstrap.cloudInit.useGlobalSearchDomainsAsDefault is false"))
		}
	}
	if cloudInit.CloudConfig == nil {
		return errs
	}
	if cloudInit.RawCloudConfig != nil {
		errs = append(errs, field.Forbidden(path.Child("rawCloudConfig"), "cannot be given together with cloudConfig"))
	}
	return append(errs, validateCloudConfig(path.Child("cloudConfig"), cloudInit.CloudConfig)...)
}

func validateCloudConfig(at *field.Path, config *vmopv1cloudinit.CloudConfig) (errs field.ErrorList) {
	names := map[string]bool{}
	for i := range config.Users {
		user, at := &config.Users[i], at.Child("users").Index(i)
		switch {
		case user.Name == "":
			errs = append(errs, field.Required(at.Child("name"), "name the user"))
		case names[user.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), user.Name))
		case user.Name == defaultUser && i > 0:
			errs = append(errs, field.Invalid(at.Child("name"), user.Name, "has to be the first of the users"))
		}
		names[user.Name] = true
		errs = append(errs, validateUser(at, user)...)
	}
	errs = append(errs, validateCommands(at.Child("runcmd"), config.RunCmd)...)
	files := map[string]bool{}
	for i := range config.WriteFiles {
		file, at := &config.WriteFiles[i], at.Child("write_files").Index(i)
		switch {
		case file.Path == "":
			errs = append(errs, field.Required(at.Child("path"), "such as /etc/motd"))
		case files[file.Path]:
			errs = append(errs, field.Duplicate(at.Child("path"), file.Path))
		}
		files[file.Path] = true
		errs = append(errs, validateFile(at, file)...)
	}
	return errs
}

func validateUser(at *field.Path, user *vmopv1cloudinit.User) (errs field.ErrorList) {
	if user.Name == defaultUser {
		rest := user.DeepCopy()
		rest.Name = ""
		if set, err := fieldsOf(rest); err != nil || len(set) > 1 {
			errs = append(errs, field.Invalid(at, user.Name,
				"is the image's own user, of whom nothing can be said but the name"))
		}
		return errs
	}
	if user.Passwd != nil && user.HashedPasswd != nil {
		errs = append(errs, field.Forbidden(at.Child("hashed_passwd"), "cannot be given together with passwd"))
	}
	if ptr.Deref(user.SSHRedirectUser, false) {
		if len(user.SSHAuthorizedKeys) > 0 || len(user.SSHImportID) > 0 {
			errs = append(errs, field.Forbidden(at.Child("ssh_redirect_user"),
				"cannot be given together with ssh_authorized_keys or ssh_import_id"))
		}
	}
	return errs
}

// validateCommands wants a list of commands: a text for a shell, or a list of a command and its arguments.
func validateCommands(at *field.Path, raw json.RawMessage) (errs field.ErrorList) {
	if !isSet(raw) {
		return nil
	}
	var commands []any
	if json.Unmarshal(raw, &commands) != nil {
		return field.ErrorList{field.Invalid(at, string(raw), "has to be a list")}
	}
	for i, command := range commands {
		_, good := command.(string)
		if words, list := command.([]any); list && len(words) > 0 {
			good = true
			for _, word := range words {
				_, one := word.(string)
				good = good && one
			}
		}
		if !good {
			errs = append(errs, field.Invalid(at.Index(i), command, "has to be a text, or a list of texts"))
		}
	}
	return errs
}

func validateFile(at *field.Path, file *vmopv1cloudinit.WriteFile) (errs field.ErrorList) {
	if _, _, err := contentOf(file.Content); err != nil {
		// What it says may be a secret that somebody put into the wrong place.
		errs = append(errs, field.Forbidden(at.Child("content"), "has to be a text, or name and key of a Secret"))
	}
	known := file.Encoding == ""
	for _, encoding := range encodings {
		known = known || file.Encoding == encoding
	}
	if !known {
		errs = append(errs, field.NotSupported(at.Child("encoding"), file.Encoding, encodings))
	}
	return errs
}
