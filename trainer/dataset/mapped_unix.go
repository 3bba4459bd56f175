//go:build unix

package dataset

import (
	"fmt"
	"os"
	"syscall"
)

// mapped is a store in a file without a name, which is gone with the process.
type mapped struct {
	file *os.File
	size int
	data []byte
}

func newMapped(dir string, size int) (store, error) {
	f, err := os.CreateTemp(dir, "pixels-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &mapped{file: f, size: size}, nil
}

// write does not write to the mapping: there a full disk would be a signal, not
// an error.
func (m *mapped) write(p []byte, at int) error {
	if _, err := m.file.WriteAt(p, int64(at)); err != nil {
		return fmt.Errorf("%d bytes of pixels do not fit in memory or on disk: %w", m.size, err)
	}
	return nil
}

func (m *mapped) bytes() (data []byte, err error) {
	m.data, err = syscall.Mmap(int(m.file.Fd()), 0, m.size, syscall.PROT_READ, syscall.MAP_SHARED)
	return m.data, err
}

func (m *mapped) close() error {
	var err error
	if m.data != nil {
		err = syscall.Munmap(m.data)
		m.data = nil
	}
	if closed := m.file.Close(); err == nil {
		err = closed
	}
	return err
}
