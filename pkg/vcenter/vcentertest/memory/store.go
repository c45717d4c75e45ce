// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// format is written into each file: one of another format is not read.
const format = "1"

var (
	metaBucket   = []byte("meta")
	objectBucket = []byte("objects")
	eventBucket  = []byte("events")
	partBucket   = []byte("parts")
)

// The keys of the meta bucket.
const (
	keyFormat   = "format"
	keyComplete = "complete"
	keyRoot     = "root"
	keyCounter  = "counter"
	keyStarts   = "starts"
	keyClosed   = "closed"
	keyInstance = "instance"
)

// Store is the memory of one vCenter in a directory, which one process at a time has.
type Store struct {
	db  *bolt.DB
	dir string
}

// FileName is the name of the file in the directory.
const FileName = "vcenter.db"

// patience is how long to wait for another process to let go of the file.
const patience = 5 * time.Second

// Open opens the memory in a directory, which it makes. What was begun and never completed, or is of another format, is
// an error that says what to do.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of vCenter's memory: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the directory of vCenter's memory: %w", err)
	}
	file := filepath.Join(dir, FileName)
	db, err := bolt.Open(file, 0o600, &bolt.Options{NoSync: true, NoGrowSync: true, Timeout: patience})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open vCenter's memory: another process has %s", file)
	}
	if err != nil {
		return nil, fmt.Errorf("open vCenter's memory %s: %w; without the directory %s it begins anew", file, err, dir)
	}
	s := &Store{db: db, dir: dir}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{metaBucket, objectBucket, eventBucket, partBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(metaBucket)
		if found := meta.Get([]byte(keyFormat)); found != nil && string(found) != format {
			return fmt.Errorf("it has the format %s, and this program reads %s", found, format)
		}
		return meta.Put([]byte(keyFormat), []byte(format))
	})
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open vCenter's memory %s: %w; without the directory %s it begins anew", file, err, dir)
	}
	return s, nil
}

// Close lets go of the file.
func (s *Store) Close() error { return s.db.Close() }

// Datastores is where the files of datastores lie, beside the memory.
func (s *Store) Datastores() string { return filepath.Join(s.dir, "datastores") }

// Complete says whether there is a whole inventory. What is there without, the beginning of a vCenter that died while it
// was made, is of no use.
func (s *Store) Complete() bool { return s.meta(keyComplete) != "" }

// Empty forgets everything, the files of datastores too.
func (s *Store) Empty() error {
	if err := os.RemoveAll(s.Datastores()); err != nil {
		return fmt.Errorf("remove the files of a vCenter that was not completed: %w", err)
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{metaBucket, objectBucket, eventBucket, partBucket} {
			if err := tx.DeleteBucket(name); err != nil {
				return err
			}
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put([]byte(keyFormat), []byte(format))
	})
	if err != nil {
		return fmt.Errorf("empty vCenter's memory: %w", err)
	}
	return nil
}

func (s *Store) meta(key string) (value string) {
	_ = s.db.View(func(tx *bolt.Tx) error { // which fails only when f does
		value = string(tx.Bucket(metaBucket).Get([]byte(key)))
		return nil
	})
	return value
}

// batch is what one transaction writes. A nil value takes a key out.
type batch struct {
	meta    map[string]string
	objects map[string][]byte
	parts   map[string][]byte
	events  map[int32][]byte
	// before is the oldest event that is kept.
	before int32
}

func (b *batch) empty() bool { return len(b.meta)+len(b.objects)+len(b.parts)+len(b.events) == 0 }

func (s *Store) write(b *batch) error {
	if b.empty() {
		return nil
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		var errs []error
		for key, value := range b.meta {
			errs = append(errs, tx.Bucket(metaBucket).Put([]byte(key), []byte(value)))
		}
		for bucket, values := range map[string]map[string][]byte{string(objectBucket): b.objects,
			string(partBucket): b.parts} {
			for key, value := range values {
				if value == nil {
					errs = append(errs, tx.Bucket([]byte(bucket)).Delete([]byte(key)))
					continue
				}
				errs = append(errs, tx.Bucket([]byte(bucket)).Put([]byte(key), value))
			}
		}
		events := tx.Bucket(eventBucket)
		for key, value := range b.events {
			errs = append(errs, events.Put(binary.BigEndian.AppendUint32(nil, uint32(key)), value))
		}
		cursor := events.Cursor()
		for key, _ := cursor.First(); key != nil && int32(binary.BigEndian.Uint32(key)) < b.before; key, _ = cursor.First() {
			errs = append(errs, cursor.Delete())
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("write vCenter's memory: %w", err)
	}
	return nil
}

// each calls f with what is in a bucket, in the order of the keys. The values are f's to keep.
func (s *Store) each(bucket []byte, f func(key string, value []byte) error) error {
	return s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(key, value []byte) error {
			return f(string(key), bytes.Clone(value))
		})
	})
}

// packer compresses records.
type packer struct {
	buffer bytes.Buffer
	writer *flate.Writer
}

func (p *packer) pack(text []byte) []byte {
	p.buffer.Reset()
	if p.writer == nil {
		p.writer, _ = flate.NewWriter(&p.buffer, flate.BestSpeed) // which fails for levels that there are not
	}
	p.writer.Reset(&p.buffer)
	// Into memory, which takes everything.
	_, _ = p.writer.Write(text)
	_ = p.writer.Close()
	return bytes.Clone(p.buffer.Bytes())
}

func unpack(data []byte) ([]byte, error) {
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("decompress a record: %w", err)
	}
	return text, nil
}
