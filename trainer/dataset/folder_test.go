package dataset

import (
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// makeFolder makes a folder of grey pictures at these paths. One that ends in a
// slash is a folder, one with -> a link, one that ends in .txt a text.
func makeFolder(t *testing.T, paths ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, p := range paths {
		p, target, link := strings.Cut(p, " -> ")
		p = filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		v := color.Gray{uint8(i)}
		switch {
		case link:
			if err := os.Symlink(filepath.Join(dir, target), p); err != nil {
				t.Fatal(err)
			}
		case filepath.Ext(p) == ".txt":
			writeBytes(t, p, []byte("no picture"))
		default:
			writePicture(t, p, 2, 2, v, v)
		}
	}
	return dir
}

// What is read of a folder is by content, through links, once; what is left out
// is said.
func TestReadImagesLayouts(t *testing.T) {
	for _, c := range []struct {
		name   string
		paths  []string
		dir    string
		pixels []uint8 // of each picture, which is the number of its path
		labels []uint8
		notes  []string
	}{
		{"links to folders", []string{"store/b/0.png", "store/b/1.png", "set/a/0.png", "set/b -> store/b"}, "set", []uint8{2, 0, 1}, []uint8{0, 1, 1}, nil},
		{"the root is a link", []string{"store/b/0.png", "store/a/1.png", "root -> store"}, "root", []uint8{1, 0}, []uint8{0, 1}, nil},
		{"a circle of links", []string{"a/0.png", "b/0.png", "b/up -> ."}, "", []uint8{0, 1}, []uint8{0, 1}, []string{"left out 1 folder that is here twice, by a link: DIR/b/up"}},
		{"a link to a file", []string{"a/0.png", "b/1.png -> a/0.png"}, "", []uint8{0, 0}, []uint8{0, 1}, nil},
		{"by content", []string{"a/0", "a/1.data", "b/2.png", "b/3.txt", "b/4.txt"}, "", []uint8{0, 1, 2}, []uint8{0, 0, 1}, []string{"left out 2 files that are no PNG, JPEG, GIF, BMP, TIFF or WebP: DIR/b/3.txt, DIR/b/4.txt"}},
		{"one beside the classes", []string{"a/0.png", "b/0.png", "preview.png"}, "", []uint8{0, 1}, []uint8{0, 1}, []string{"left out 1 picture that is beside the folders of classes: DIR/preview.png"}},
		{"many beside folders", []string{"a/0.png", "b/0.png", "x.png", "y.png", "z.png"}, "", []uint8{0, 1, 2, 3, 4}, nil, []string{"there are no labels: 3 of the 5 pictures lie beside the folders"}},
		{"no classes", []string{"0.png", "1.png"}, "", []uint8{0, 1}, nil, nil},
		{"strange names", []string{"0.png", "\x1b[2J.txt"}, "", []uint8{0}, nil, []string{`left out 1 file that is no PNG, JPEG, GIF, BMP, TIFF or WebP: "DIR/\x1b[2J.txt"`}},
	} {
		root := makeFolder(t, c.paths...)
		s, err := ReadImages(t.Context(), filepath.Join(root, c.dir), ImageOptions{H: 1, W: 1, C: 1})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for i, note := range s.Notes {
			s.Notes[i] = strings.ReplaceAll(note, root, "DIR")
		}
		if !slices.Equal(s.Pixels, c.pixels) || !slices.Equal(s.Labels, c.labels) || !slices.Equal(s.Notes, c.notes) {
			t.Errorf("%s: pictures %v with labels %v, notes %q; want %v with %v, %q", c.name, s.Pixels, s.Labels, s.Notes, c.pixels, c.labels, c.notes)
		}
	}
}

func TestReadImagesSkipsUnreadable(t *testing.T) {
	dir := makeFolder(t, "a/0.png", "a/1.png", "b/2.png", "b/3.png")
	writeBytes(t, filepath.Join(dir, "a", "0.png"), []byte("text"))
	o := ImageOptions{H: 1, W: 1, C: 1}
	if _, err := ReadImages(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), "0.png: want a PNG, JPEG") || !strings.Contains(err.Error(), "--skip-unreadable") {
		t.Errorf("error %v, want one that names 0.png and --skip-unreadable", err)
	}
	o.SkipUnreadable = true
	s, err := ReadImages(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	note := "left out 1 picture that cannot be read: " + filepath.Join(dir, "a", "0.png")
	if !slices.Equal(s.Pixels, []uint8{1, 2, 3}) || !slices.Equal(s.Labels, []uint8{0, 1, 1}) || !slices.Equal(s.Notes, []string{note}) {
		t.Errorf("pictures %v with labels %v, notes %q", s.Pixels, s.Labels, s.Notes)
	}
	if h, w, c, err := ImageSize(dir, 256); h != 2 || w != 2 || c != 1 || err != nil {
		t.Errorf("size %d x %d x %d, error %v", h, w, c, err)
	}
	if h, w, _, err := ImageSize(dir, 1); h != 1 || w != 1 || err != nil {
		t.Errorf("reduced size %d x %d, error %v", h, w, err)
	}
	dir = makeFolder(t, "0.png")
	writeBytes(t, filepath.Join(dir, "0.png"), []byte("text"))
	if _, err := ReadImages(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), "has no picture that can be read") {
		t.Errorf("no readable picture: error %v", err)
	}
	if _, _, _, err := ImageSize(dir, 256); err == nil || !strings.Contains(err.Error(), "0.png") {
		t.Errorf("size of no readable picture: error %v", err)
	}
}
