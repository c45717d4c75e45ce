// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/openpacific/pacific/cmd/supervisor/pki"
	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// ServeOptions say where the simulated vCenter listens and who can log in.
type ServeOptions struct {
	// Addr is a loopback address with a port that is free at each start.
	Addr string
	// CertFile and KeyFile are the serving certificate, followed in its file by the authority's where there is one.
	CertFile, KeyFile string
	// CredentialsFile is YAML with the keys username and password.
	CredentialsFile string
	// ControlSocket is the path of the socket that Control talks to.
	ControlSocket string
	// Memory is the directory in which the vCenter remembers, and finds at the next start what there was; empty has it
	// forget.
	Memory string
	// GuestNetwork is the loopback network on which guests answer, such as 127.66.0.0/16; empty has them answer nowhere.
	GuestNetwork string
	// Inventory is what there is at the first start: vcentertest.Sample where none is given.
	Inventory vcentertest.Inventory
}

// guestsStart is how long guests take: long enough to be seen starting.
const guestsStart = 3 * time.Second

// Serve runs a simulated vCenter until ctx ends.
func Serve(ctx context.Context, o ServeOptions) error {
	serving := pki.Pair{CertFile: o.CertFile, KeyFile: o.KeyFile}
	certificate, err := serving.TLS()
	if err != nil {
		return err
	}
	username, password, err := readCredentials(o.CredentialsFile)
	if err != nil {
		return err
	}
	network, err := guestaddress.Parse(o.GuestNetwork)
	if err != nil {
		return err
	}
	inventory := o.Inventory
	if inventory == nil {
		inventory = vcentertest.Sample
	}
	vc, err := vcentertest.Start(vcentertest.Options{
		Addr: o.Addr, Certificate: certificate, Renewed: serving.TLS, Username: username, Password: password,
		Inventory: inventory, GuestsStart: guestsStart, Memory: o.Memory, GuestNetwork: network,
	})
	if err != nil {
		return err
	}
	defer vc.Close()
	return serveControl(ctx, o.ControlSocket, vc)
}

// readCredentials reads the account; no error ever quotes the file.
func readCredentials(file string) (username, password string, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", "", fmt.Errorf("read vCenter's credentials: %w", err)
	}
	var account struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if yaml.UnmarshalStrict(data, &account) != nil || account.Username == "" || account.Password == "" {
		return "", "", errors.New("the credentials file " + file + " is not YAML with the keys username and password")
	}
	return account.Username, account.Password, nil
}
