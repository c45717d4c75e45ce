// SPDX-License-Identifier: Apache-2.0

package component

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// etcdOptions is the part of etcd's configuration that a Supervisor sets.
type etcdOptions struct {
	dataDir, listen              string
	certFile, keyFile, trustedCA string
}

// newEtcdCommand returns a single-member etcd that asks every client for a certificate.
func newEtcdCommand(ctx context.Context) *cobra.Command {
	var o etcdOptions
	command := &cobra.Command{
		Use:          Etcd,
		Short:        "Run etcd",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(*cobra.Command, []string) error { return o.run(ctx) },
	}
	flags := command.Flags()
	flags.StringVar(&o.dataDir, "data-dir", "", "folder of the data")
	flags.StringVar(&o.listen, "listen-client-url", "", "URL to serve on")
	flags.StringVar(&o.certFile, "cert-file", "", "serving certificate")
	flags.StringVar(&o.keyFile, "key-file", "", "key of the serving certificate")
	flags.StringVar(&o.trustedCA, "trusted-ca-file", "", "authority that signs the certificates of clients")
	return command
}

func (o etcdOptions) run(ctx context.Context) error {
	config, err := o.config()
	if err != nil {
		return fmt.Errorf("configure etcd: %w", err)
	}
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer etcd.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-etcd.Err():
		return fmt.Errorf("etcd failed: %w", err)
	case <-etcd.Server.StopNotify():
		return errors.New("etcd stopped by itself")
	}
}

func (o etcdOptions) config() (*embed.Config, error) {
	listen, err := url.Parse(o.listen)
	if err != nil {
		return nil, fmt.Errorf("--listen-client-url: %w", err)
	}
	config := embed.NewConfig()
	config.Dir = o.dataDir
	config.LogLevel = "warn"
	config.LogOutputs = []string{"stderr"}
	config.ListenClientUrls = []url.URL{*listen}
	config.AdvertiseClientUrls = []url.URL{*listen}
	// There are no other members: nothing listens for them. The advertised URL only names this one.
	config.ListenPeerUrls = nil
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.ClientTLSInfo.CertFile = o.certFile
	config.ClientTLSInfo.KeyFile = o.keyFile
	config.ClientTLSInfo.TrustedCAFile = o.trustedCA
	config.ClientTLSInfo.ClientCertAuth = true
	config.TlsMinVersion = "TLS1.2"
	// The gateway would connect to this server as a client with the server's certificate, which is none of a client.
	config.EnableGRPCGateway = false
	// A lone member elects itself: short ticks make it ready sooner.
	config.TickMs, config.ElectionMs = 20, 200
	// As kube-apiserver would, which may not: etcd lets root alone.
	config.AutoCompactionMode = embed.CompactorModePeriodic
	config.AutoCompactionRetention = "5m"
	return config, nil
}
