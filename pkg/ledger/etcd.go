// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
)

// Server names an etcd cluster that is not ours.
type Server struct {
	Endpoints []string
	// CAFile, CertFile and KeyFile are PEM files; all three for https endpoints
	// that ask for a client certificate.
	CAFile, CertFile, KeyFile string
}

// Dial makes a client of an etcd cluster. It does not wait for it to answer.
func Dial(server Server) (*clientv3.Client, error) {
	config := clientv3.Config{
		Endpoints:            server.Endpoints,
		DialTimeout:          requestTimeout,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		Logger:               zap.NewNop(), // every failure also comes back as an error, and is reported there
	}
	if server.CAFile != "" || server.CertFile != "" {
		tls, err := transport.TLSInfo{TrustedCAFile: server.CAFile, CertFile: server.CertFile,
			KeyFile: server.KeyFile}.ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("read the certificates for etcd: %w", err)
		}
		config.TLS = tls
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of etcd at %v: %w", server.Endpoints, err)
	}
	return client, nil
}

// Embedded is an etcd of one member inside this process. Its records lie in a
// folder; it opens no port: its sockets are files in that folder, and its
// client calls it directly.
type Embedded struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	// sockets is a folder of its own, since a path of a Unix socket may have at
	// most about a hundred bytes.
	sockets string
}

// Embed starts etcd on a folder, which it makes if need be, and waits until it
// is ready or ctx ends.
func Embed(ctx context.Context, folder string) (_ *Embedded, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the embedded etcd: %w", err)
	}
	sockets, err := os.MkdirTemp("", "pacific-etcd-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the sockets of the embedded etcd: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(sockets)
		}
	}()
	config := embed.NewConfig()
	config.Name = "pacific"
	config.Dir = folder
	config.Logger = "zap"
	// its errors reach whoever calls it; what it logs besides is the noise of its sockets closing
	config.LogLevel = "fatal"
	config.LogOutputs = []string{"stderr"}
	config.AutoCompactionMode = embed.CompactorModePeriodic
	config.AutoCompactionRetention = "1h"
	client := url.URL{Scheme: "unix", Path: filepath.Join(sockets, "client.sock:0")}
	peer := url.URL{Scheme: "unix", Path: filepath.Join(sockets, "peer.sock:0")}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("start the embedded etcd in %s: %w", folder, err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return &Embedded{etcd: server, client: v3client.New(server.Server), sockets: sockets}, nil
	case err := <-server.Err():
		server.Close()
		return nil, fmt.Errorf("start the embedded etcd in %s: %w", folder, err)
	case <-ctx.Done():
		server.Close()
		return nil, fmt.Errorf("start the embedded etcd in %s: %w", folder, context.Cause(ctx))
	}
}

// Client calls the server without a connection. Close closes it.
func (e *Embedded) Client() *clientv3.Client { return e.client }

// Close stops the server; it returns when its files are closed.
func (e *Embedded) Close() error {
	err := e.client.Close()
	if errors.Is(err, context.Canceled) { // what Close says when it has ended its own context
		err = nil
	}
	e.etcd.Close()
	if removeErr := os.RemoveAll(e.sockets); err == nil {
		err = removeErr
	}
	if err != nil {
		return fmt.Errorf("stop the embedded etcd: %w", err)
	}
	return nil
}
