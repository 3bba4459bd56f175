package trainer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// lockFile is locked by the process that trains in a run's folder, and names it. The system takes the lock from a process
// that ends, in whatever way, so a file that is left is no obstacle.
const lockFile = ".lock"

// errNoLocks is the error of a file system that has no locks.
var errNoLocks = errors.New("the file system has no locks")

// Lock makes this process the only one that works in a folder until unlock is called. Where the file system has no locks it does nothing.
func Lock(dir string) (unlock func(), err error) {
	if unlock, err = lockRun(dir); errors.Is(err, errNoLocks) {
		err = nil
	}
	return unlock, err
}

// lockRun makes this process the only one that trains in a run's folder until unlock is called.
func lockRun(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, lockFile)
	lock := flock.New(path, flock.SetPermissions(0o666))
	locked, err := lock.TryLock()
	switch {
	case errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOLCK):
		return func() {}, errNoLocks
	case err != nil:
		return nil, fmt.Errorf("run folder: lock: %w", err)
	case !locked:
		return nil, fmt.Errorf("run folder %s: %s is training there: wait until it has ended, or choose another folder", dir, holder(path))
	}
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	text := fmt.Sprintf("process %d on %s, since %s,\n", os.Getpid(), host, time.Now().Format(time.DateTime))
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("run folder: lock: %w", err), lock.Close())
	}
	return func() { lock.Close() }, nil // closing it cannot fail in a way that matters: nothing is read from it
}

// holder returns what the holder of a lock says of itself.
func holder(path string) string {
	data, err := os.ReadFile(path)
	line, _, whole := strings.Cut(string(data), "\n")
	if err != nil || !whole || len(line) > 200 { // locked files cannot be read on some systems
		return "another process"
	}
	return line
}

// CheckUnused reports a run's folder in which another process is training, and which. Train refuses it too; this is for
// those who have much to do before they call it.
func CheckUnused(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err != nil {
		return nil // whatever it is, nobody holds a lock; Train says more
	}
	unlock, err := lockRun(dir)
	if errors.Is(err, errNoLocks) {
		return nil
	}
	if err == nil {
		unlock()
	}
	return err
}
