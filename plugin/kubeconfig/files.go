// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/openpacific/pacific/plugin/shell"
)

// lockPatience is how long to wait for another process to finish its edit.
const lockPatience = 15 * time.Second

// Files are the kubeconfig files that kubectl would read, in its order.
type Files struct {
	Paths []string
}

// FromEnvironment returns the files that KUBECONFIG names, else ~/.kube/config.
func FromEnvironment(getenv func(string) string) (*Files, error) {
	var paths []string
	for _, path := range filepath.SplitList(getenv("KUBECONFIG")) {
		if path != "" && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	if len(paths) > 0 {
		return &Files{paths}, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("find the kubeconfig: %w", err)
	}
	return &Files{[]string{filepath.Join(home, ".kube", "config")}}, nil
}

// Default returns the file that new entries go to: the first that exists, else
// the last of the list. So does kubectl.
func (f *Files) Default() string {
	for _, path := range f.Paths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return f.Paths[len(f.Paths)-1]
}

// Load returns what the files say together. Files that do not exist say nothing.
func (f *Files) Load() (*Config, error) {
	_, config, err := f.read()
	return config, err
}

func (f *Files) read() (map[string]*document, *Config, error) {
	documents := map[string]*document{}
	config := &Config{Clusters: map[string]Cluster{}, Contexts: map[string]Context{}, Users: map[string]User{}}
	for _, path := range f.Paths {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read the kubeconfig: %w", err)
		}
		parsed, err := parse(text)
		if err == nil {
			err = parsed.merge(config)
		}
		if err != nil {
			return nil, nil, shell.Advise(fmt.Errorf("read the kubeconfig %s: %w", path, err),
				"repair the file, or point KUBECONFIG to another")
		}
		documents[path] = parsed
	}
	return documents, config, nil
}

// Edit changes the files. plan sees what they say while nobody else edits them.
func (f *Files) Edit(ctx context.Context, plan func(*Config) (*Changes, error)) error {
	target := f.Default()
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	release, err := f.lock(ctx, target)
	if err != nil {
		return err
	}
	defer release()
	documents, config, err := f.read()
	if err != nil {
		return err
	}
	changes, err := plan(config)
	if err != nil {
		return err
	}
	if documents[target] == nil {
		documents[target] = &document{}
	}
	for path, one := range f.distribute(target, documents, changes) {
		text, err := documents[path].apply(one)
		if err == nil {
			err = replace(path, text)
		}
		if err != nil {
			return fmt.Errorf("write the kubeconfig %s: %w", path, err)
		}
	}
	return nil
}

// distribute says which file changes how: an entry is replaced where it is,
// new ones go to the target.
func (f *Files) distribute(target string, documents map[string]*document, changes *Changes) map[string]*edit {
	edits := map[string]*edit{}
	of := func(path string) *edit {
		if edits[path] == nil {
			edits[path] = &edit{set: map[string][]entry{}, remove: map[string][]string{}}
		}
		return edits[path]
	}
	for _, list := range []string{clusters, contexts, users} {
		holder := map[string]string{}
		for _, path := range f.Paths {
			if documents[path] == nil {
				continue
			}
			for _, name := range documents[path].names(list) {
				if holder[name] == "" {
					holder[name] = path
				}
				if slices.Contains(changes.remove(list), name) {
					of(path).remove[list] = append(of(path).remove[list], name)
				}
			}
		}
		for _, one := range sorted(changes.set(list)) {
			path := target
			if holder[one.Name] != "" {
				path = holder[one.Name]
			}
			of(path).set[list] = append(of(path).set[list], one)
		}
	}
	switch {
	case changes.CurrentContext == nil:
	case *changes.CurrentContext != "":
		of(target).current = changes.CurrentContext
		// A file before the target does not exist, or is the target: so no
		// other can outvote it.
	default:
		for path, document := range documents {
			if document.current() != "" {
				of(path).current = changes.CurrentContext
			}
		}
	}
	for path, one := range edits {
		if one.empty() {
			delete(edits, path)
		}
	}
	return edits
}

// lock takes kubectl's lock of each file that exists or will: <file>.lock,
// created by whoever holds it.
func (f *Files) lock(ctx context.Context, target string) (release func(), err error) {
	var held []string
	release = func() {
		for _, path := range held {
			os.Remove(path)
		}
	}
	names := []string{target + ".lock"}
	for _, path := range f.Paths {
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			names = append(names, path+".lock", resolved+".lock")
		}
	}
	slices.Sort(names)
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for _, name := range slices.Compact(names) {
		for {
			file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0)
			if err == nil {
				file.Close()
				held = append(held, name)
				break
			}
			// A file in a folder that is not ours is only read. Should it have
			// to be written, that fails and says so. (Windows says "permission"
			// of a lock that is just being removed, too: it exists then.)
			_, missing := os.Lstat(name)
			if errors.Is(err, fs.ErrPermission) && missing != nil && name != target+".lock" {
				break
			}
			if !errors.Is(err, fs.ErrExist) && !(errors.Is(err, fs.ErrPermission) && missing == nil) {
				release()
				return nil, fmt.Errorf("lock the kubeconfig: %w", err)
			}
			select {
			case <-time.After(10*time.Millisecond + rand.N(40*time.Millisecond)):
			case <-ctx.Done():
				release()
				if errors.Is(ctx.Err(), context.Canceled) {
					return nil, ctx.Err()
				}
				return nil, shell.Advise(fmt.Errorf("the kubeconfig is locked: %s exists", name),
					"if no kubectl is running, one has died holding it: remove that file")
			}
		}
	}
	return release, nil
}

// replace puts new content in the place of a file, in one step. It keeps the
// mode, and goes through a symbolic link to the file itself.
func replace(path string, text []byte) error {
	mode := fs.FileMode(0o600)
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(text)
	err = errors.Join(err, temporary.Chmod(mode), temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
