// SPDX-License-Identifier: Apache-2.0

package component

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// vcenterOptions say how the simulated vCenter is reached.
type vcenterOptions struct {
	listen, certFile, keyFile, credentialsFile string
}

func newVCenterCommand(ctx context.Context) *cobra.Command {
	var o vcenterOptions
	command := &cobra.Command{
		Use:          VCenter,
		Short:        "Run a simulated vCenter",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(*cobra.Command, []string) error { return o.run(ctx) },
	}
	flags := command.Flags()
	flags.StringVar(&o.listen, "listen", "", "loopback address to listen on")
	flags.StringVar(&o.certFile, "tls-cert-file", "", "serving certificate")
	flags.StringVar(&o.keyFile, "tls-private-key-file", "", "key of the serving certificate")
	flags.StringVar(&o.credentialsFile, "credentials", "", "YAML file with the username and the password that can log in")
	return command
}

func (o vcenterOptions) run(ctx context.Context) error {
	certificate, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
	if err != nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	username, password, err := readAccount(o.credentialsFile)
	if err != nil {
		return err
	}
	vcenter, err := vcentertest.Start(vcentertest.Options{Addr: o.listen, Certificate: &certificate, Username: username, Password: password})
	if err != nil {
		return err
	}
	<-ctx.Done()
	vcenter.Close()
	return nil
}

func readAccount(file string) (username, password string, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", "", fmt.Errorf("read credentials: %w", err)
	}
	var account struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	// The parser's message could quote the password.
	if yaml.UnmarshalStrict(data, &account) != nil || account.Username == "" || account.Password == "" {
		return "", "", errors.New("the credentials file " + file + " is not YAML with the keys username and password")
	}
	return account.Username, account.Password, nil
}
