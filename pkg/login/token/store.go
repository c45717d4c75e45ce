// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/openpacific/pacific/pkg/failure"
)

// Store keeps the keys. The bytes are opaque to it and secret: it may encrypt
// them.
type Store interface {
	// Load returns what was saved last and a version that stands for it; nil and
	// "" when nothing was.
	Load(ctx context.Context) (data []byte, version string, err error)
	// Save replaces what version stands for. The error wraps failure.Conflict
	// when that is not what is there now.
	Save(ctx context.Context, data []byte, version string) error
}

// FileStore keeps the keys in one file, which one process uses. It refuses a
// file that others may read.
type FileStore struct {
	Path string

	mu sync.Mutex
}

// Load implements Store.
func (s *FileStore) Load(context.Context) ([]byte, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.load()
}

func (s *FileStore) load() ([]byte, string, error) {
	info, err := os.Stat(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the signing keys: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, "", fmt.Errorf("the file of the signing keys, %s, may be read or written by others (mode %#o): make it 0600, and remove it if anybody may have read it", s.Path, mode)
	}
	data, err := os.ReadFile(s.Path)
	if err != nil {
		return nil, "", fmt.Errorf("read the signing keys: %w", err)
	}
	return data, versionOf(data), nil
}

func versionOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Save implements Store: the file is replaced as a whole, or not at all.
func (s *FileStore) Save(_ context.Context, data []byte, version string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, present, err := s.load()
	if err != nil {
		return err
	}
	if present != version {
		return fmt.Errorf("save the signing keys: the file %s has changed: %w", s.Path, failure.Conflict)
	}
	if err := s.replace(data); err != nil {
		return fmt.Errorf("save the signing keys: %w", err)
	}
	return nil
}

func (s *FileStore) replace(data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(s.Path), ".keys-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), s.Path)
}
