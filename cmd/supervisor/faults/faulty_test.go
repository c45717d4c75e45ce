// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// faulty is a Supervisor of its own on a vCenter that a test can break.
type faulty struct {
	*supervisortest.Supervisor
	vcenter     *vcentertest.VCenter
	account     string // of the Supervisor
	credentials string
	ca          string
}

func newFaulty(t *testing.T, name string) *faulty {
	t.Helper()
	return newFaultyOn(t, name, vcentertest.Options{Password: "Correct-Horse-7"})
}

// newFaultyOn makes one on a vCenter of these options, with the administrator's account.
func newFaultyOn(t *testing.T, name string, options vcentertest.Options) *faulty {
	t.Helper()
	v := vcentertest.Run(t, options)
	return newFaultyAs(t, name, v, v.Username(), v.Password())
}

// newFaultyAs makes one on a vCenter, with an account of that.
func newFaultyAs(t *testing.T, name string, v *vcentertest.VCenter, account, password string) *faulty {
	t.Helper()
	f := &faulty{Supervisor: suite.New(name), vcenter: v, account: account}
	folder := filepath.Join(suite.Folder, name+"-vcenter")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	f.ca = filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(f.ca, f.vcenter.CACertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	f.credentials = filepath.Join(folder, "credentials.yaml")
	f.password(t, password)
	return f
}

// password writes the credentials file.
func (f *faulty) password(t *testing.T, password string) {
	t.Helper()
	content := fmt.Sprintf("username: %s\npassword: %q\n", f.account, password)
	if err := os.WriteFile(f.credentials+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.credentials+".new", f.credentials); err != nil {
		t.Fatal(err)
	}
}

// up starts the Supervisor, which ends with the test at the latest.
func (f *faulty) up(t *testing.T, more ...string) {
	t.Helper()
	arguments := append([]string{"--vcenter", f.vcenter.URL().String(), "--vcenter-credentials", f.credentials,
		"--vcenter-ca", f.ca}, more...)
	if err := f.Start(arguments...); err != nil {
		t.Fatal(err)
	}
	waittest.Within(t, 30*time.Second, "the Supervisor's files", func(context.Context) error {
		if status, err := f.Dir.ReadStatus(); err != nil || status.VCenter.URL == "" {
			return fmt.Errorf("its status: %+v, %w", status, err)
		}
		return nil
	})
}

func (f *faulty) down(t *testing.T) {
	t.Helper()
	if err := f.Stop(); err != nil {
		t.Error(err)
	}
}

func (f *faulty) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}
