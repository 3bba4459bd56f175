package atomicfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// content returns a function that writes s.
func content(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// wantFiles fails the test unless dir has exactly the files of these names and
// contents.
func wantFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok {
			t.Errorf("unexpected %s", e.Name())
		}
	}
	for name, s := range want {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if string(b) != s {
			t.Errorf("%s has %.40q, want %.40q", name, b, s)
		}
	}
}

// skipRoot skips tests of permissions, which do not bind root.
func skipRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root may write to any directory")
	}
	if runtime.GOOS == "windows" {
		t.Skip("a read-only directory can be written to on Windows")
	}
}

// A folder that cannot be written to whoever asks: there is none, or a file is in its place.
func TestWriteNowhere(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := Write(file, content("mine")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "none", "model"), filepath.Join(file, "model")} {
		if err := Write(path, content("new")); err == nil || !strings.Contains(err.Error(), "write "+path) {
			t.Errorf("error %v, want one that names %s", err, path)
		}
	}
	wantFiles(t, dir, map[string]string{"file": "mine"})
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	for _, s := range []string{"old", "new", "", strings.Repeat("large ", 100_000)} {
		if err := Write(path, content(s)); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, dir, map[string]string{"model": s})
	}
}

// TestWriteInProgress looks at the directory while a file is being written.
func TestWriteInProgress(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	if err := Write(path, content("old")); err != nil {
		t.Fatal(err)
	}
	err := Write(path, func(w io.Writer) error {
		if _, err := w.Write(bytes.Repeat([]byte("new"), 10_000)); err != nil {
			return err
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
			t.Errorf("%.40q, %v at the path, want the old content", b, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "model" })
		if i < 0 {
			t.Fatal("no temporary file in the directory")
		}
		if name := entries[i].Name(); !strings.HasPrefix(name, ".model.tmp-") || !tempPattern.MatchString(name) {
			t.Errorf("temporary file %s", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWriteOpen has a reader that opened the old file before it was replaced.
func TestWriteOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be replaced on Windows")
	}
	path := filepath.Join(t.TempDir(), "model")
	if err := Write(path, content("old")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(path, content("new")); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || string(b) != "old" {
		t.Errorf("read %q, %v, want the old content", b, err)
	}
}

func TestWriteRelative(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := Write("model", content("x")); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string]string{"model": "x"})
}

// TestMode compares with a file of os.Create, whatever the umask is.
func TestMode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	if err := Write(path, content("x")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "created"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Mode() != want.Mode() {
		t.Errorf("mode %v, os.Create gives %v", got.Mode(), want.Mode())
	}
}

func TestWriteErrors(t *testing.T) {
	errFull := &fs.PathError{Op: "write", Path: "other", Err: syscall.ENOSPC}
	tests := []struct {
		name  string
		write func(w io.Writer) error
		want  string
		is    error
	}{
		{"at once", func(io.Writer) error { return io.ErrNoProgress }, io.ErrNoProgress.Error(), io.ErrNoProgress},
		{"in the middle", func(w io.Writer) error {
			if err := content(strings.Repeat("x", 100_000))(w); err != nil {
				return err
			}
			return io.ErrNoProgress
		}, io.ErrNoProgress.Error(), io.ErrNoProgress},
		{"another file", func(io.Writer) error { return errFull }, errFull.Error(), syscall.ENOSPC},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "model")
			err := Write(path, tt.write)
			if err == nil || err.Error() != "write "+path+": "+tt.want || !errors.Is(err, tt.is) {
				t.Errorf("error %v, want write %s: %s", err, path, tt.want)
			}
			wantFiles(t, dir, nil)

			if err := Write(path, content("old")); err != nil {
				t.Fatal(err)
			}
			if err := Write(path, tt.write); err == nil {
				t.Error("no error over an old file")
			}
			wantFiles(t, dir, map[string]string{"model": "old"})
		})
	}
}

func TestWritePanic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	if err := Write(path, content("old")); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		Write(path, func(io.Writer) error { panic("bug") })
	}()
	wantFiles(t, dir, map[string]string{"model": "old"})
}

func TestWriteBadPath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ path, want string }{
		"no directory":    {filepath.Join(dir, "none", "model"), "create a temporary file: "},
		"not a directory": {filepath.Join(file, "model"), "create a temporary file: "},
		"a directory":     {sub, "replace: "},
		"empty":           {"", "replace: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(dir)
			err := Write(tt.path, content("x"))
			if err == nil || !strings.HasPrefix(err.Error(), "write "+tt.path+": "+tt.want) {
				t.Errorf("error %v, want write %s: %s...", err, tt.path, tt.want)
			} else if strings.Contains(err.Error(), ".tmp-") {
				t.Errorf("error %v names the temporary file", err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 2 {
				t.Errorf("directory has %v, %v, want only file and sub", entries, err)
			}
		})
	}
}

func TestWriteDirectoryReadOnly(t *testing.T) {
	skipRoot(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	if err := Write(path, content("old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	err := Write(path, content("new"))
	if want := "write " + path + ": create a temporary file: permission denied"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v does not wrap its cause", err)
	}
	wantFiles(t, dir, map[string]string{"model": "old"})
}

// TestWriteDirectoryUnreadable has a directory that cannot be opened to sync.
func TestWriteDirectoryUnreadable(t *testing.T) {
	skipRoot(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o300); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	path := filepath.Join(dir, "model")
	if err := Write(path, content("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "x" {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestRemoveTemp(t *testing.T) {
	dir := t.TempDir()
	keep := []string{
		"model", ".model", ".model.tmp", ".model.tmp-1", "model.tmp-0123456789abcdef",
		".model.tmp-0123456789abcdeg", ".model.tmp-0123456789abcdef0", ".tmp-0123456789abcdef",
	}
	files := map[string]string{}
	for _, name := range keep {
		files[name] = name
	}
	for _, name := range append(keep, ".model.tmp-0123456789abcdef", tempName("x"), tempName(".hidden")) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveTemp(dir); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, files)
}

func TestRemoveTempDirectory(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, tempName("sub"))
	if err := os.Mkdir(sub, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := RemoveTemp(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(sub); err != nil {
		t.Error(err)
	}
}

func TestRemoveTempErrors(t *testing.T) {
	dir := t.TempDir()
	if err := RemoveTemp(filepath.Join(dir, "none")); err != nil {
		t.Errorf("no directory: error %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	err := RemoveTemp(file)
	if err == nil || !strings.HasPrefix(err.Error(), "remove temporary files: ") || !strings.Contains(err.Error(), file) {
		t.Errorf("not a directory: error %v", err)
	}

	skipRoot(t)
	if err := os.WriteFile(filepath.Join(dir, tempName("x")), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	if err := RemoveTemp(dir); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read-only directory: error %v", err)
	}
}
