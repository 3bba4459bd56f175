package dataset

import (
	"encoding/binary"
	"fmt"
	"image"
	"os"
	"sync/atomic"
)

// cache keeps pictures as views are cut out of them, decoded and resized when
// they are first read. They lie in a file without a name, which the system keeps in memory as far as
// there is room and which is gone with the process; a picture is there once it is all there. In memory
// are 16 bytes for each.
type cache struct {
	file *os.File
	name string         // of the file, where the system cannot do without
	end  atomic.Int64   // bytes of the file that are taken
	at   []atomic.Int64 // where a picture begins, upright or turned, and 1; 0 while it is not there
}

// cacheFolder makes the folder, or that of [CacheDir] if it is empty.
func cacheFolder(dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = CacheDir(); err != nil {
			return "", err
		}
	}
	return dir, os.MkdirAll(dir, 0o777)
}

// newCache returns an empty cache for n pictures.
func newCache(dir string, n int) (*cache, error) {
	dir, err := cacheFolder(dir)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "pictures-*")
	if err != nil {
		return nil, err
	}
	c := &cache{file: f, at: make([]atomic.Int64, 2*n)}
	if os.Remove(f.Name()) != nil {
		c.name = f.Name()
	}
	return c, nil
}

func (c *cache) close() error {
	err := c.file.Close()
	if c.name != "" {
		if removed := os.Remove(c.name); err == nil {
			err = removed
		}
	}
	return err
}

// place returns the entry of picture i.
func (c *cache) place(i int, turned bool) *atomic.Int64 {
	if turned {
		return &c.at[2*i+1]
	}
	return &c.at[2*i]
}

const sizeBytes = 8 // rows and columns in front of a picture's pixels

// put keeps a picture, unless another goroutine has done so meanwhile.
func (c *cache) put(i int, turned bool, m *image.RGBA) error {
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	b := make([]byte, sizeBytes, sizeBytes+3*w*h)
	binary.LittleEndian.PutUint32(b, uint32(h))
	binary.LittleEndian.PutUint32(b[4:], uint32(w))
	for p := m.Pix; len(p) > 0; p = p[4:] {
		b = append(b, p[:3]...)
	}
	at := c.end.Add(int64(len(b))) - int64(len(b))
	if _, err := c.file.WriteAt(b, at); err != nil {
		return fmt.Errorf("the pictures that are kept do not fit on disk, after %d bytes: %w (data.cache: false reads them anew each time)", at, err)
	}
	c.place(i, turned).CompareAndSwap(0, at+1)
	return nil
}

// get returns a picture, or nil if it is not there.
func (c *cache) get(i int, turned bool) (*image.RGBA, error) {
	at := c.place(i, turned).Load() - 1
	if at < 0 {
		return nil, nil
	}
	var size [sizeBytes]byte
	if _, err := c.file.ReadAt(size[:], at); err != nil {
		return nil, fmt.Errorf("reading a picture that was kept: %w", err)
	}
	h, w := int(binary.LittleEndian.Uint32(size[:])), int(binary.LittleEndian.Uint32(size[4:]))
	b := make([]byte, 3*h*w)
	if _, err := c.file.ReadAt(b, at+sizeBytes); err != nil {
		return nil, fmt.Errorf("reading a picture that was kept: %w", err)
	}
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for p := m.Pix; len(p) > 0; p, b = p[4:], b[3:] {
		copy(p, b[:3])
		p[3] = 255
	}
	return m, nil
}
