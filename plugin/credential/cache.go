// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openpacific/pacific/plugin/shell"
)

// Where tokens are kept.
const (
	Auto  = "auto"    // the keyring if there is one, else files
	Ring  = "keyring" // of the operating system
	Disk  = "file"
	Never = "none"
)

// Storages are the values of --token-cache.
func Storages() []string { return []string{Auto, Ring, Disk, Never} }

// CheckStorage refuses what is not a value of --token-cache.
func CheckStorage(value string) error {
	if slices.Contains(Storages(), value) {
		return nil
	}
	return fmt.Errorf("--token-cache %q: it must be one of %s", value, strings.Join(Storages(), ", "))
}

// Key is whose token it is, and for what.
type Key struct {
	Server    string `json:"server"`
	Username  string `json:"username"`
	Cluster   string `json:"cluster,omitempty"`   // the Tanzu Kubernetes cluster, empty for the Supervisor
	Namespace string `json:"namespace,omitempty"` // of that cluster
}

// id names the key in a keyring and in the file system.
func (k Key) id() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{k.Server, strings.ToLower(k.Username), k.Cluster, k.Namespace},
		"\x00")))
	return hex.EncodeToString(sum[:16])
}

// Token is a bearer token.
type Token struct {
	Value   string
	Expires time.Time // zero when it is not known
}

// String and GoString keep the token out of whatever prints the struct.
func (t Token) String() string   { return "token until " + t.Expires.Format(time.RFC3339) }
func (t Token) GoString() string { return t.String() }

// good says whether a token can be used for a while yet.
func (t *Token) good(now time.Time) bool {
	return t != nil && t.Value != "" && (t.Expires.IsZero() || now.Add(time.Minute).Before(t.Expires))
}

// record is a token as it is kept. The key is in it so that a record that got
// to a wrong place is not used.
type record struct {
	Key
	Token   string    `json:"token"`
	Expires time.Time `json:"expires,omitzero"`
}

// Keyring is a keyring of the operating system. Get returns an error that is
// fs.ErrNotExist when it holds no such entry.
type Keyring interface {
	Get(id string) (string, error)
	Set(id, value string) error
	Delete(id string) error
}

// Cache keeps tokens.
type Cache struct {
	Storage   string
	Directory string
	Keyring   Keyring // nil where there is none
}

// keyringPatience is how long a keyring that is not told to be used may take:
// one that asks for its own password, on a screen that nobody sees, may never
// answer.
const keyringPatience = 5 * time.Second

// Open returns the cache of the user.
func Open(sh *shell.Shell, storage string) (*Cache, error) {
	if err := CheckStorage(storage); err != nil {
		return nil, err
	}
	directory, err := sh.StateDirectory()
	if err != nil {
		return nil, err
	}
	return &Cache{Storage: storage, Directory: filepath.Join(directory, "tokens"), Keyring: systemKeyring(sh.Getenv)}, nil
}

func (c *Cache) file(key Key) string {
	return filepath.Join(c.Directory, key.id()+".json")
}

// Load returns a token, or nil when there is none. In the automatic case the
// file is asked first, which costs nothing; a token is never in both.
func (c *Cache) Load(ctx context.Context, key Key) (*Token, error) {
	var text string
	err := error(fs.ErrNotExist)
	if c.Storage == Auto || c.Storage == Disk {
		var data []byte
		data, err = os.ReadFile(c.file(key))
		text = string(data)
	}
	if errors.Is(err, fs.ErrNotExist) && (c.Storage == Ring || c.Storage == Auto && c.Keyring != nil) {
		text, err = c.ring(ctx, func(ring Keyring) (string, error) { return ring.Get(key.id()) })
		if c.Storage == Auto && err != nil {
			err = fs.ErrNotExist
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the cached token: %w", err)
	}
	var kept record
	if json.Unmarshal([]byte(text), &kept) != nil || kept.id() != key.id() {
		return nil, nil // a new login overwrites it
	}
	return &Token{Value: kept.Token, Expires: kept.Expires}, nil
}

// Save keeps a token.
func (c *Cache) Save(ctx context.Context, key Key, token Token) error {
	if c.Storage == Never {
		return nil
	}
	data, err := json.Marshal(record{Key: key, Token: token.Value, Expires: token.Expires})
	if err != nil {
		return err
	}
	if c.Storage == Ring || c.Storage == Auto && c.Keyring != nil {
		_, err = c.ring(ctx, func(ring Keyring) (string, error) { return "", ring.Set(key.id(), string(data)) })
		if err == nil {
			os.Remove(c.file(key))
			return nil
		}
		if c.Storage == Ring {
			return shell.Advise(fmt.Errorf("keep the token in the keyring: %w", err),
				"--token-cache=file keeps it in a file that only you can read")
		}
		// It may hold an older token, which must not be found later.
		_, _ = c.ring(ctx, func(ring Keyring) (string, error) { return "", ring.Delete(key.id()) })
	}
	if err := c.write(c.file(key), data); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	return nil
}

// write replaces a file in one step. os.CreateTemp makes it readable by the
// user alone.
func (c *Cache) write(path string, data []byte) error {
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(c.Directory, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(data)
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// Forget removes a token, wherever it is.
func (c *Cache) Forget(ctx context.Context, key Key) error {
	var errs []error
	if c.Keyring != nil && (c.Storage == Ring || c.Storage == Auto) {
		_, err := c.ring(ctx, func(ring Keyring) (string, error) { return "", ring.Delete(key.id()) })
		if err != nil && !errors.Is(err, fs.ErrNotExist) && c.Storage == Ring {
			errs = append(errs, err)
		}
	}
	for _, name := range []string{c.file(key), c.refusal(key)} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the cached token: %w", err)
	}
	return nil
}

// ring calls the keyring, which has no deadline of its own.
func (c *Cache) ring(ctx context.Context, call func(Keyring) (string, error)) (string, error) {
	if c.Keyring == nil {
		return "", errors.New("there is no keyring here")
	}
	if c.Storage == Auto {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, keyringPatience)
		defer cancel()
	}
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := call(c.Keyring)
		answers <- answer{text, err}
	}()
	select {
	case got := <-answers:
		return got.text, got.err
	case <-ctx.Done():
		return "", fmt.Errorf("the keyring does not answer: %w", ctx.Err())
	}
}

// refusal is where it is noted that a password was refused.
func (c *Cache) refusal(key Key) string {
	return filepath.Join(c.Directory, key.id()+".refused")
}

// refusalHolds is how long a refused password is not tried again where nobody
// types it. kubectl runs the command five times for one line of its user, and
// vCenter locks an account after five refusals.
const refusalHolds = time.Minute

// Refused says when the password was last refused, if that was just now.
func (c *Cache) Refused(key Key, now time.Time) (time.Time, bool) {
	info, err := os.Stat(c.refusal(key))
	if err != nil || now.Sub(info.ModTime()) > refusalHolds {
		return time.Time{}, false
	}
	return info.ModTime(), true
}

// NoteRefusal notes that the password was refused.
func (c *Cache) NoteRefusal(key Key) error {
	return c.write(c.refusal(key), nil)
}
