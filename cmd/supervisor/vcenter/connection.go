// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

// settings say which vCenter: that of the Supervisor of a data directory.
type settings struct {
	dataDir string
}

func (s *settings) read() (datadir.Dir, datadir.VCenter, error) {
	dir, err := datadir.New(s.dataDir)
	if err != nil {
		return "", datadir.VCenter{}, err
	}
	status, err := dir.ReadStatus()
	if err != nil {
		return "", datadir.VCenter{}, err
	}
	if status.VCenter.URL == "" {
		return "", datadir.VCenter{}, fmt.Errorf("no Supervisor has run in %s: start one with `supervisor up --sim`, or "+
			"name its folder with --data-dir", dir)
	}
	return dir, status.VCenter, nil
}

// socket is the control socket of a simulated vCenter.
func (s *settings) socket() (string, error) {
	dir, vcenter, err := s.read()
	if err != nil {
		return "", err
	}
	if !vcenter.Simulated {
		return "", fmt.Errorf("the Supervisor in %s runs on a real vCenter, %s: only a simulated one does this", dir,
			vcenter.URL)
	}
	return ControlSocket(string(dir)), nil
}

// control has the simulated vCenter of the Supervisor do something that no VI admin could.
func (s *settings) control(ctx context.Context, verb string, values url.Values) error {
	socket, err := s.socket()
	if err != nil {
		return err
	}
	return control(ctx, socket, verb, values)
}

// connect logs in with the Supervisor's own account.
func connect(ctx context.Context, facts datadir.VCenter) (*govmomi.Client, error) {
	username, password, err := readCredentials(facts.CredentialsFile)
	if err != nil {
		return nil, err
	}
	endpoint, err := url.Parse(facts.URL)
	if err != nil {
		return nil, fmt.Errorf("URL of vCenter: %w", err)
	}
	endpoint.User = nil
	if endpoint.Path == "" || endpoint.Path == "/" {
		endpoint.Path = vim25.Path
	}
	client := soap.NewClient(endpoint, false)
	if facts.CAFile != "" {
		if err := client.SetRootCAs(facts.CAFile); err != nil {
			return nil, fmt.Errorf("authority of vCenter: %w", err)
		}
	}
	if facts.Thumbprint != "" {
		client.SetThumbprint(endpoint.Host, colons(facts.Thumbprint))
	}
	vimClient, err := vim25.NewClient(ctx, client)
	if err != nil {
		hint := ""
		if facts.Simulated {
			hint = "; `supervisor vcenter start` starts it if it was stopped, `supervisor status` tells whether the " +
				"Supervisor runs"
		}
		return nil, fmt.Errorf("vCenter does not answer on %s: %w%s", endpoint, root(err), hint)
	}
	made := &govmomi.Client{Client: vimClient, SessionManager: session.NewManager(vimClient)}
	if err := made.Login(ctx, url.UserPassword(username, password)); err != nil {
		if fault.Is(err, new(types.InvalidLogin)) {
			return nil, fmt.Errorf("vCenter refuses the account in %s: correct the user name and the password there",
				facts.CredentialsFile)
		}
		return nil, fmt.Errorf("log in to vCenter: %w", err)
	}
	return made, nil
}

// colons writes a thumbprint as govmomi compares it.
func colons(thumbprint string) string {
	digits := strings.ToUpper(strings.ReplaceAll(thumbprint, ":", ""))
	var parts []string
	for ; len(digits) >= 2; digits = digits[2:] {
		parts = append(parts, digits[:2])
	}
	return strings.Join(parts, ":")
}

// root leaves out the URL, which net/http puts before every error.
func root(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
