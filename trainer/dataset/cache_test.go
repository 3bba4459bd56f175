package dataset

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/convae/convae/trainer/picture"
)

// coloured writes n pictures of many colours and different sizes.
func coloured(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		m := image.NewNRGBA(image.Rect(0, 0, 9+i%5, 8+i%7))
		for k := range m.Pix {
			m.Pix[k] = byte(k*37 + i*101 + k*k%91)
		}
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.png", i)), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// all reads all samples as a draw has them, several at a time.
func all(t *testing.T, s *Set, draw uint32) [][]byte {
	t.Helper()
	list, errs := make([][]byte, s.Len()), make([]error, s.Len())
	var w sync.WaitGroup
	for i := range list {
		list[i] = make([]byte, s.Size())
		w.Go(func() { errs[i] = s.ReadAugmented(list[i], i, 3, draw) })
	}
	w.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// Pictures that are kept are augmented to the same bits as those that are read anew, and their files are read but once. Random parts of resized
// pictures are the exception: they have the same bits whenever they are read, whatever was read before.
func TestCache(t *testing.T) {
	const n = 20
	change := Augment{Flip: "both", Rotate: true, Brightness: 0.3, Contrast: 0.3, Saturation: 0.3, Hue: 0.2}
	random := change
	random.Crop = "random"
	for name, o := range map[string]ImageOptions{
		"middle":          {H: 5, W: 5, C: 3, Augment: change},
		"oblong":          {H: 4, W: 6, C: 3, Augment: change, Filter: picture.Area},
		"grey, by side":   {H: 4, W: 5, C: 1, Augment: change, Resize: 7},
		"random, as is":   {H: 5, W: 6, C: 3, Augment: random, Resize: picture.Native},
		"random, resized": {H: 5, W: 6, C: 3, Augment: random, Resize: 7},
		"no augmentation": {H: 5, W: 6, C: 3},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			coloured(t, dir, n)
			o.Stream, o.CacheDir = true, filepath.Join(t.TempDir(), "cache")
			anew, err := ReadImages(t.Context(), dir, o)
			if err != nil {
				t.Fatal(err)
			}
			o.Cache = true
			open := func() *Set {
				s, err := ReadImages(t.Context(), dir, o)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				return s
			}
			kept, other := open(), open()
			const draws = 12 // in which a picture is almost surely seen upright and turned
			var want [draws + 1][][]byte
			for d := draws; d > 0; d-- {
				if want[d] = all(t, anew, uint32(d)); name == "random, resized" {
					want[d] = all(t, other, uint32(d))
				}
			}
			for d := 1; d <= draws; d++ {
				if got := all(t, kept, uint32(d)); !equal(got, want[d]) {
					t.Fatalf("draw %d differs", d)
				}
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if got := all(t, kept.Pick([]int{4, 19}), 0); len(got) != 2 {
				t.Error("the pictures are not kept")
			}
			if left, err := os.ReadDir(o.CacheDir); err != nil || len(left) > 0 {
				t.Errorf("the cache folder has %v, %v", left, err)
			}
			if err := kept.Close(); err != nil {
				t.Fatal(err)
			}
			if err := kept.ReadAugmented(make([]byte, kept.Size()), 0, 3, 1); err == nil || !strings.Contains(err.Error(), "reading a picture that was kept") {
				t.Errorf("a closed set gives error %v", err)
			}
		})
	}
}

func equal(a, b [][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// What cannot be kept is an error, also where unreadable pictures are passed over; these are passed over still.
func TestCacheErrors(t *testing.T) {
	dir := t.TempDir()
	coloured(t, dir, 3)
	write := func(path string) string {
		if err := os.WriteFile(path, []byte("none"), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	o := ImageOptions{H: 3, W: 3, C: 3, Stream: true, Cache: true, SkipUnreadable: true, CacheDir: write(filepath.Join(t.TempDir(), "file"))}
	if _, err := ReadImages(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), "dataset images: ") {
		t.Errorf("a cache folder that is a file: error %v", err)
	}
	o.CacheDir = t.TempDir()
	write(filepath.Join(dir, "001.png"))
	s, err := ReadImages(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := all(t, s, 1); !bytes.Equal(got[1], got[2]) || bytes.Equal(got[0], got[2]) {
		t.Error("the next picture does not take the place of one that cannot be read")
	}
	if note := s.Unreadable(); !strings.Contains(note, "001.png") {
		t.Errorf("note %q", note)
	}
	if s, err = ReadImages(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	s.pictures.cache.file.Close()
	if err := s.ReadAugmented(make([]byte, s.Size()), 0, 3, 1); err == nil || !strings.Contains(err.Error(), "do not fit on disk, after 0 bytes") {
		t.Errorf("a file that cannot be written: error %v", err)
	}
}

// Masks are no pictures of the set, and are not kept with them.
func TestCacheMasks(t *testing.T) {
	dir, masks := t.TempDir(), t.TempDir()
	for i := range 3 {
		v := color.Gray{uint8(10 + i)}
		writePicture(t, filepath.Join(dir, fmt.Sprintf("%d.png", i)), 3, 3, v, v)
		v = color.Gray{uint8(200 + i)}
		writePicture(t, filepath.Join(masks, fmt.Sprintf("%d.png", i)), 3, 3, v, v)
	}
	s, err := ReadImages(t.Context(), dir, ImageOptions{H: 3, W: 3, C: 1, Stream: true, Cache: true, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m, err := s.Masks(masks, func(int) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if a, b := all(t, s, 1), all(t, m, 1); a[2][0] != 12 || b[2][0] != 202 {
			t.Errorf("picture %d, mask %d", a[2][0], b[2][0])
		}
	}
}
