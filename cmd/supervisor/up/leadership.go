// SPDX-License-Identifier: Apache-2.0

package up

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/openpacific/pacific/cmd/supervisor/component"
)

const (
	// etcdPrefix is where vsphere-apiserver keeps its records; the leases of its leaders are attached to keys below
	// etcdPrefix + leaderKey.
	etcdPrefix = "/pacific"
	leaderKey  = "/leader/"
)

// depose ends the leadership of every vsphere-apiserver that was. It is called while none runs: there is only the one
// of this Supervisor, so that whoever is on record died without a word, and its successor need not wait until the
// lease has run out.
func (p *plan) depose(ctx context.Context) error {
	client, err := p.etcdClient(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	response, err := client.Get(ctx, etcdPrefix+leaderKey, clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("look for leaders in etcd: %w", err)
	}
	for _, record := range response.Kvs {
		if record.Lease == 0 {
			continue
		}
		if _, err := client.Revoke(ctx, clientv3.LeaseID(record.Lease)); err != nil {
			return fmt.Errorf("revoke the lease of a dead leader: %w", err)
		}
	}
	return nil
}

func (p *plan) etcdClient(ctx context.Context) (*clientv3.Client, error) {
	c := p.certificates
	certificate, err := tls.X509KeyPair(c.probeClient.CertPEM, c.probeClient.KeyPEM)
	if err != nil {
		return nil, fmt.Errorf("client of etcd: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.etcdCA.CertPEM) {
		return nil, errors.New("client of etcd: its authority holds no certificate")
	}
	client, err := clientv3.New(clientv3.Config{
		Context:     ctx,
		Endpoints:   []string{p.local(component.Etcd)},
		DialTimeout: time.Second,
		TLS:         &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		Logger:      zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("client of etcd: %w", err)
	}
	return client, nil
}
