// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"fmt"
	"strings"
)

// ID names one managed object of one vCenter. It is comparable, so it serves
// as the key of a map, and as text it serves as the key of a record.
//
// A managed-object id alone names nothing for good: with another vCenter, or
// after a restore of this one, "group-v12" may be somebody else's folder.
type ID struct {
	// VCenter is vCenter's own id, about.instanceUuid. It is empty only where
	// no vCenter stands behind, as with an inventory that is made up.
	VCenter string
	// Type is the managed object's type, such as "Folder".
	Type string
	// Value is its id within its vCenter, such as "group-v12".
	Value string
}

// IsZero says whether it names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// String is "<vCenter>/<type>/<value>", and empty for the zero ID. ParseID
// reads it.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return id.VCenter + "/" + id.Type + "/" + id.Value
}

// ParseID reads what String wrote. Whatever String does not write is refused.
func ParseID(text string) (ID, error) {
	if text == "" {
		return ID{}, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return ID{}, fmt.Errorf("parse the id %q: it has to be <vCenter>/<type>/<value>, such as 5b9c0a2e-…/Folder/group-v12", text)
	}
	return ID{VCenter: parts[0], Type: parts[1], Value: parts[2]}, nil
}

// MarshalText makes an ID a string in JSON, also as the key of an object. An ID
// whose text could not be read back is refused.
func (id ID) MarshalText() ([]byte, error) {
	text := id.String()
	if back, err := ParseID(text); err != nil || back != id {
		return nil, fmt.Errorf("write the id %+v: type and value may not be empty, and no part may have a slash", id)
	}
	return []byte(text), nil
}

// UnmarshalText is ParseID for JSON. On an error the ID keeps its value.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
