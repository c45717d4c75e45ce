// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	vmopv1cloudinit "github.com/vmware-tanzu/vm-operator/api/v1alpha5/cloudinit"
	vmopv1common "github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/secret"
)

const (
	// defaultUser is the one that an image has itself.
	defaultUser = "default"
	// userDataHead says that what follows is a cloud-config, in which cloud-init fills in what it knows of the instance,
	// as it does with those that vm-operator makes.
	userDataHead = "## template: jinja\n#cloud-config\n\n"
)

// document is a cloud-config as cloud-init reads it.
type document struct {
	Timezone   string          `json:"timezone,omitempty"`
	Users      []any           `json:"users,omitempty"`
	RunCmd     json.RawMessage `json:"runcmd,omitempty"`
	WriteFiles []fields        `json:"write_files,omitempty"`
	SSHPwdAuth *bool           `json:"ssh_pwauth,omitempty"`
}

type fields = map[string]json.RawMessage

// render writes a cloud-config as cloud-init reads it, nothing for an empty one. values are what its Secrets have, by
// the path of the field that names them.
func render(path *field.Path, config *vmopv1cloudinit.CloudConfig, values secret.Values) ([]byte, error) {
	made := document{Timezone: config.Timezone, SSHPwdAuth: config.SSHPwdAuth}
	if isSet(config.RunCmd) {
		made.RunCmd = config.RunCmd
	}
	for i := range config.Users {
		if config.Users[i].Name == defaultUser {
			made.Users = append(made.Users, defaultUser)
			continue
		}
		if i == 0 && config.DefaultUserEnabled {
			made.Users = append(made.Users, defaultUser)
		}
		user, err := userOf(path.Child("users").Index(i), &config.Users[i], values)
		if err != nil {
			return nil, err
		}
		made.Users = append(made.Users, user)
	}
	for i := range config.WriteFiles {
		file, err := fileOf(path.Child("write_files").Index(i), &config.WriteFiles[i], values)
		if err != nil {
			return nil, err
		}
		made.WriteFiles = append(made.WriteFiles, file)
	}
	encoded, err := json.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("%s: write it for cloud-init: %w", path, err)
	}
	text, err := yaml.JSONToYAML(escaped(encoded))
	if err != nil {
		// What is wrong with it may have a part of a Secret.
		return nil, fmt.Errorf("%s: it cannot be written for cloud-init: %w", path, failure.Invalid)
	}
	if string(text) == "{}\n" {
		return nil, nil
	}
	return append([]byte(userDataHead), text...), nil
}

// escaped is JSON that is read in YAML as in JSON. There no control character may stand as it is, and ends of lines that JSON
// does not know become spaces.
func escaped(encoded []byte) []byte {
	var plain bytes.Buffer
	for _, r := range string(encoded) {
		if r >= 0x7f && r < 0xa0 || r == '\uFEFF' || r == '\uFFFE' || r == '\uFFFF' {
			fmt.Fprintf(&plain, `\u%04x`, r)
		} else {
			plain.WriteRune(r)
		}
	}
	return plain.Bytes()
}

// userOf is a user with passwords instead of where they are, and with types as cloud-init has them.
func userOf(path *field.Path, user *vmopv1cloudinit.User, values secret.Values) (fields, error) {
	made, err := fieldsOf(user)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if user.Inactive != nil {
		made["inactive"] = quoted(strconv.Itoa(int(*user.Inactive)))
	}
	for _, password := range passwords(user) {
		made[password.name] = quoted(secret.Text(values.Of(path.Child(password.name))))
	}
	return made, nil
}

// password is a field of a user that names a Secret.
type password struct {
	name string
	from vmopv1common.SecretKeySelector
}

func passwords(user *vmopv1cloudinit.User) (found []password) {
	if user.Passwd != nil {
		found = append(found, password{"passwd", *user.Passwd})
	}
	if user.HashedPasswd != nil {
		found = append(found, password{"hashed_passwd", *user.HashedPasswd})
	}
	return found
}

// fileOf is a file with what it is to hold. What is no text is encoded as one.
func fileOf(path *field.Path, file *vmopv1cloudinit.WriteFile, values secret.Values) (fields, error) {
	made, err := fieldsOf(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	held, from, err := contentOf(file.Content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path.Child("content"), err, failure.Invalid)
	}
	value := []byte(held)
	if from != nil {
		value = values.Of(path.Child("content"))
	}
	delete(made, "content")
	if !utf8.Valid(value) {
		switch file.Encoding {
		case "", vmopv1cloudinit.WriteFileEncodingTextPlain:
			made["encoding"] = quoted(string(vmopv1cloudinit.WriteFileEncodingFluffyBase64))
		case vmopv1cloudinit.WriteFileEncodingFluffyGz, vmopv1cloudinit.WriteFileEncodingFluffyGzip:
			made["encoding"] = quoted(string(vmopv1cloudinit.WriteFileEncodingGzipBase64))
		default:
			return nil, fmt.Errorf("%s: it is not encoded as %s: %w", path.Child("content"), file.Encoding, failure.Invalid)
		}
		value = []byte(base64.StdEncoding.EncodeToString(value))
	}
	if len(value) > 0 {
		made["content"] = quoted(string(value))
	}
	return made, nil
}

// contentOf reads what a file is to hold: a text, or the key of a Secret that has it. Names of fields count as they are
// written, so that a Secret is the same in whatever order they stand: as a struct is read, the last of name and Name would
// win, which need not be the one of which it was asked whether its reader may have it.
func contentOf(content json.RawMessage) (held string, from *vmopv1common.SecretKeySelector, err error) {
	if !isSet(content) || json.Unmarshal(content, &held) == nil {
		return held, nil, nil
	}
	var found map[string]string
	err = json.Unmarshal(content, &found)
	from = &vmopv1common.SecretKeySelector{Name: found["name"], Key: found["key"]}
	delete(found, "name")
	delete(found, "key")
	if err != nil || len(found) > 0 {
		return "", nil, errors.New("it has to be a text, or name and key of a Secret")
	}
	return "", from, nil
}

// Normalise writes what is raw JSON in one way, so that what says the same is the same. What cannot be read stays as it is,
// to be refused: it could come to name a Secret.
func Normalise(config *vmopv1cloudinit.CloudConfig) {
	config.RunCmd = normalised(config.RunCmd)
	for i := range config.WriteFiles {
		content := &config.WriteFiles[i].Content
		if _, _, err := contentOf(*content); err == nil {
			*content = normalised(*content)
		}
	}
}

func normalised(raw json.RawMessage) json.RawMessage {
	var value any
	if !isSet(raw) || json.Unmarshal(raw, &value) != nil {
		return raw
	}
	again, err := json.Marshal(value)
	if err != nil {
		return raw
	}
	return again
}

func isSet(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// fieldsOf takes an object apart into its fields.
func fieldsOf(object any) (made fields, err error) {
	encoded, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return made, json.Unmarshal(encoded, &made)
}

// quoted is a text in JSON.
func quoted(value string) json.RawMessage {
	// A text can always be encoded.
	encoded, _ := json.Marshal(value)
	return encoded
}
