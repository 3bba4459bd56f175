//go:build unix

package regularfile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe, socket := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe"), filepath.Join(dir, "socket")
	listener, err := net.Listen("unix", socket)
	if err := errors.Join(err, os.WriteFile(file, nil, 0o666), os.Symlink(file, link), syscall.Mkfifo(pipe, 0o666)); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, path := range []string{file, link} {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for path, want := range map[string]string{
		pipe:       pipe + " is not a regular file but a named pipe",
		dir:        dir + " is not a regular file but a folder",
		socket:     socket + " is not a regular file but a socket",
		os.DevNull: os.DevNull + " is not a regular file but a device",
	} {
		if _, err := Open(path); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: error %v", err)
	}
}
