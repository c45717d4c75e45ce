// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/zalando/go-keyring"
)

// keyringService is what the keyring's own tools show.
const keyringService = "kubectl-vsphere"

// systemKeyring returns the keyring of the operating system, nil where there is
// none. On Linux that is known before the keyring is spoken to: its library would
// start a message bus where there is none.
func systemKeyring(getenv func(string) string) Keyring {
	if runtime.GOOS == "linux" && getenv("DBUS_SESSION_BUS_ADDRESS") == "" {
		if _, err := os.Stat(filepath.Join("/run/user", strconv.Itoa(os.Getuid()), "bus")); err != nil {
			return nil
		}
	}
	return operatingSystem{}
}

type operatingSystem struct{}

func (operatingSystem) Get(id string) (string, error) {
	text, err := keyring.Get(keyringService, id)
	return text, translate(err)
}

func (operatingSystem) Set(id, value string) error {
	return translate(keyring.Set(keyringService, id, value))
}

func (operatingSystem) Delete(id string) error {
	return translate(keyring.Delete(keyringService, id))
}

func translate(err error) error {
	if errors.Is(err, keyring.ErrNotFound) {
		return fs.ErrNotExist
	}
	return err
}
