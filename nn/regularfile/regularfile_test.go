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

func TestOpenIn(t *testing.T) {
	dir := t.TempDir()
	within := filepath.Join(dir, "within")
	at := func(name string) string { return filepath.Join(within, name) }
	if err := errors.Join(os.Mkdir(within, 0o777), os.WriteFile(filepath.Join(dir, "secret"), nil, 0o666), os.WriteFile(at("file"), nil, 0o666), syscall.Mkfifo(at("pipe"), 0o666),
		os.Symlink("file", at("link")), os.Symlink("../secret", at("out")), os.Symlink(filepath.Join(dir, "secret"), at("far"))); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(within)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"file", "link"} {
		f, err := OpenIn(root, name)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for _, name := range []string{"pipe", "out", "far", "../secret", "none"} {
		if f, err := OpenIn(root, name); err == nil {
			f.Close()
			t.Errorf("%s is opened", name)
		}
	}
}
