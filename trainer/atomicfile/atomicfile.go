// Package atomicfile replaces files whole: whoever opens the path, also after
// a crash, finds the old content or the new, never a part.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
)

// Write calls write to fill a temporary file beside path, syncs it to disk,
// and renames it to path. The file has the permissions that [os.Create] gives;
// a symbolic link at path is replaced, not followed.
//
// After an error, or a panic of write, the temporary file is gone and the file
// at path is as it was. There is one exception: if syncing the directory
// fails, the new file is already in place, but may be lost in a power failure.
//
// Errors read "write PATH: ..." and wrap the cause.
func Write(path string, write func(w io.Writer) error) error {
	temp := filepath.Join(filepath.Dir(path), tempName(filepath.Base(path)))
	err := replace(path, temp, write)
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, withoutPath(err, temp))
	}
	return nil
}

func replace(path, temp string, write func(w io.Writer) error) error {
	// Not os.CreateTemp, which makes the file private to its owner.
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("create a temporary file: %w", withoutPath(err, temp))
	}
	renamed := false
	defer func() {
		if !renamed {
			f.Close() // a second time is harmless; Windows removes no open file
			os.Remove(temp)
		}
	}()
	buf := bufio.NewWriter(f)
	if err := write(buf); err != nil {
		return err
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("replace: %w", withoutPath(err, temp))
	}
	renamed = true
	return nil
}

// withoutPath strips the name of the temporary file from an error of package
// os: it is gone when the error is read.
func withoutPath(err error, temp string) error {
	switch e := err.(type) {
	case *fs.PathError:
		if e.Path == temp {
			return e.Err
		}
	case *os.LinkError:
		if e.Old == temp {
			return e.Err
		}
	}
	return err
}

// syncDir makes a rename in dir durable, where the system can.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced
	}
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil // one may write to a directory without reading it
	}
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil // the file system cannot
	}
	return err
}

// tempName returns a name for a temporary file. The random part is wide enough
// that no two writers meet.
func tempName(base string) string {
	return fmt.Sprintf(".%s.tmp-%016x", base, rand.Uint64())
}

var tempPattern = regexp.MustCompile(`^\..+\.tmp-[0-9a-f]{16}$`)

// IsTemp reports whether a file of that name is one of Write's before it is renamed.
func IsTemp(name string) bool { return tempPattern.MatchString(name) }

// RemoveTemp removes the temporary files that killed processes left in dir,
// not in its subdirectories. Call it when no [Write] to dir is in progress. A
// dir that does not exist has none.
//
// It removes what it can, and returns the first error.
func RemoveTemp(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove temporary files: %w", err)
	}
	var first error
	for _, e := range entries {
		if !e.Type().IsRegular() || !IsTemp(e.Name()) {
			continue
		}
		err := os.Remove(filepath.Join(dir, e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && first == nil {
			first = fmt.Errorf("remove temporary files: %w", err)
		}
	}
	return first
}
