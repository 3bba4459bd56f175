//go:build linux || darwin

package atomicfile

import (
	"errors"
	"io"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// TestWriteFull limits the size of files, so that the system refuses a write
// in the middle as it does on a full disk.
func TestWriteFull(t *testing.T) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ) // or the write would end the process
	defer signal.Reset(syscall.SIGXFSZ)

	const limit = 1 << 16
	data := make([]byte, 1000)
	tests := []struct {
		name  string
		write func(io.Writer) error
	}{
		{"error returned", func(w io.Writer) error {
			for range 100 {
				if _, err := w.Write(data); err != nil {
					return err
				}
			}
			return nil
		}},
		{"error ignored", func(w io.Writer) error {
			for range 100 {
				w.Write(data)
			}
			return nil
		}},
		{"error of the last bytes", func(w io.Writer) error {
			for range 66 { // the last 464 bytes are still in the buffer
				if _, err := w.Write(data); err != nil {
					t.Errorf("error %v before the end", err)
				}
			}
			return nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "model")
			if err := Write(path, content("old")); err != nil {
				t.Fatal(err)
			}
			low := old
			low.Cur = limit
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &low); err != nil {
				t.Fatal(err)
			}
			err := Write(path, tt.write)
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
				t.Fatal(err)
			}
			if want := "write " + path + ": file too large"; err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			if !errors.Is(err, syscall.EFBIG) {
				t.Errorf("error %v does not wrap its cause", err)
			}
			wantFiles(t, dir, map[string]string{"model": "old"})
		})
	}
}
