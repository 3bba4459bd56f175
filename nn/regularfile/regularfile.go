// Package regularfile opens files that hold data.
package regularfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Open is [os.Open] for a regular file, or a link to one. It is an error if
// there is something else at path: to open a pipe would wait for one who writes
// to it, and to read a device might never end.
func Open(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil {
		if err := Check(path, info.Mode()); err != nil {
			return nil, err
		}
	}
	return os.Open(path)
}

// OpenIn is [Open] for a file in a folder, by a name that does not lead out of it, nor do links.
func OpenIn(folder *os.Root, name string) (*os.File, error) {
	info, err := folder.Stat(name)
	if err != nil {
		return nil, err
	}
	if err := Check(filepath.Join(folder.Name(), name), info.Mode()); err != nil {
		return nil, err
	}
	return folder.Open(name)
}

// Check returns an error that names path unless a regular file has that mode.
func Check(path string, mode fs.FileMode) error {
	kind := ""
	switch {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "a folder"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	default:
		kind = "a device"
	}
	return fmt.Errorf("%s is not a regular file but %s", path, kind)
}
