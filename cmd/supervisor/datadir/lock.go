// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Holder is the process that holds a data directory.
type Holder struct {
	PID    int       `json:"pid"`
	Since  time.Time `json:"since"`
	Server string    `json:"server"`
}

// HeldError says that another process holds the data directory.
type HeldError struct {
	Dir    Dir
	Holder Holder
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("data directory %s is in use by process %d (a Supervisor on %s since %s): stop it with Ctrl-C "+
		"or `kill %d`, or choose another --data-dir and --secure-port",
		e.Dir, e.Holder.PID, e.Holder.Server, e.Holder.Since.Format(time.DateTime), e.Holder.PID)
}

// Lock takes the directory for this process until release is called or the process ends, however it ends. It returns
// a *HeldError when another process has it.
func (d Dir) Lock(holder Holder) (release func(), err error) {
	file, err := os.OpenFile(d.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	for attempt := 0; errors.Is(err, syscall.EWOULDBLOCK) && attempt < 5; attempt++ {
		// It may be somebody who only looks who holds it (see Holder): that takes no time.
		time.Sleep(20 * time.Millisecond)
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		defer file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &HeldError{Dir: d, Holder: readHolder(file)}
		}
		return nil, fmt.Errorf("lock data directory %s: %w", d, err)
	}
	data, err := json.Marshal(holder)
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt(append(data, '\n'), 0)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock data directory %s: %w", d, err)
	}
	return func() { file.Close() }, nil
}

// Holder returns who holds the directory now, nil when nobody does.
func (d Dir) Holder() (*Holder, error) {
	file, err := os.Open(d.lockFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("look at the lock of the data directory: %w", err)
	}
	defer file.Close()
	switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case err == nil:
		return nil, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		holder := readHolder(file)
		return &holder, nil
	default:
		return nil, fmt.Errorf("look at the lock of data directory %s: %w", d, err)
	}
}

func (d Dir) lockFile() string { return filepath.Join(string(d), "lock") }

func readHolder(file *os.File) Holder {
	var holder Holder
	if data, err := io.ReadAll(io.LimitReader(file, 4096)); err == nil {
		// A holder that has not written its line yet stays unnamed.
		_ = json.Unmarshal(data, &holder)
	}
	return holder
}
