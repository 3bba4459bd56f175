package dataset

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/picture"
)

// greys writes n pictures of one grey each, of different sizes, in folders of ten.
func greys(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		v := color.Gray{uint8(i)}
		writePicture(t, filepath.Join(dir, fmt.Sprintf("c%d", i/10), fmt.Sprintf("%03d.png", i)), 3+i%5, 3+i%3, v, v)
	}
}

func readAll(t *testing.T, s *Set) []float32 {
	t.Helper()
	x := make([]float32, s.Len()*s.Size())
	if err := s.Read(x, 0, s.Len()); err != nil {
		t.Fatal(err)
	}
	return x
}

// A set that is streamed has the samples of one that is held, in all views of it.
func TestStreamed(t *testing.T) {
	dir := t.TempDir()
	greys(t, dir, 50)
	read := func(o ImageOptions) *Set {
		t.Helper()
		o.H, o.W, o.C, o.HeldOut = 3, 4, 3, 0.2
		s, err := ReadImages(t.Context(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	held, streamed := read(ImageOptions{}), read(ImageOptions{Stream: true})
	if !streamed.Streamed() || held.Streamed() || !streamed.HasPixels() || !streamed.Images() || !slices.Equal(streamed.Labels, held.Labels) {
		t.Fatalf("streamed %v, held %v", streamed, held)
	}
	parts := func(s *Set) []*Set {
		train, validation, err := s.Split(0.2)
		if err != nil {
			t.Fatal(err)
		}
		return []*Set{s, train, validation, s.Slice(7, 20), s.Pick([]int{3, 40, 3})}
	}
	for i, want := range parts(held) {
		got := parts(streamed)[i]
		if got.Len() != want.Len() || !slices.Equal(readAll(t, got), readAll(t, want)) || !slices.Equal(got.Labels, want.Labels) {
			t.Errorf("part %d differs", i)
		}
		pixels := make([]byte, want.Size())
		if err := got.ReadAugmented(pixels, 2, 1, 1); err != nil || !bytes.Equal(pixels, want.Image(2)) {
			t.Errorf("part %d: sample 2 without an augmentation is %v, error %v", i, pixels, err)
		}
	}

	defer func(n int) { imagesInMemory = n }(imagesInMemory)
	imagesInMemory = 100
	large := read(ImageOptions{})
	if !large.Streamed() || !strings.Contains(strings.Join(large.Notes, ";"), "data.cache") {
		t.Errorf("a set larger than memory: streamed %v, notes %v", large.Streamed(), large.Notes)
	}
}

// Sets are told apart by the names and the sizes of their files, wherever they lie.
func TestIdentify(t *testing.T) {
	identity := func(dir string) [32]byte {
		t.Helper()
		s, err := ReadImages(t.Context(), dir, ImageOptions{H: 3, W: 3, C: 1, Stream: true})
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		s.Identify(h)
		return [32]byte(h.Sum(nil))
	}
	a, b := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	greys(t, a, 12)
	greys(t, b, 12)
	if identity(a) != identity(b) {
		t.Error("the same files in another folder are another set")
	}
	writePicture(t, filepath.Join(b, "c0", "003.png"), 40, 30, color.White, color.Black)
	if identity(a) == identity(b) {
		t.Error("a file of another size makes no other set")
	}
}

// What an augmentation draws depends on seed, sample and draw alone, is different for each, and is of all that it may be.
func TestAugment(t *testing.T) {
	src := rng.Source{Seed: 5, Stream: rng.StreamAugment}
	if v := (Augment{}).view(src, 3, 4); v != picture.Middle() {
		t.Errorf("no augmentation: %+v", v)
	}
	a := Augment{Crop: "random", Flip: "both", Rotate: true, Brightness: 0.4, Contrast: 0.3, Saturation: 0.2, Hue: 0.1}
	if a.view(src, 3, 4) != a.view(src, 3, 4) || a.view(src, 3, 4) == a.view(src, 4, 4) || a.view(src, 3, 4) == a.view(src, 3, 5) {
		t.Error("draws are not told apart by sample and draw alone")
	}
	var flips, upends int
	var quarters [4]int
	low, high := picture.Colours{Brightness: 9, Contrast: 9, Saturation: 9, Hue: 9}, picture.Colours{Hue: -9}
	const n = 4000
	for i := range uint32(n) {
		v := a.view(src, i, 1)
		if !(v.X >= 0 && v.X < 1 && v.Y >= 0 && v.Y < 1) {
			t.Fatalf("part at %v, %v", v.X, v.Y)
		}
		if v.Flip {
			flips++
		}
		if v.Upend {
			upends++
		}
		quarters[v.Quarter]++
		c := v.Colours
		low = picture.Colours{Brightness: min(low.Brightness, c.Brightness), Contrast: min(low.Contrast, c.Contrast), Saturation: min(low.Saturation, c.Saturation), Hue: min(low.Hue, c.Hue)}
		high = picture.Colours{Brightness: max(high.Brightness, c.Brightness), Contrast: max(high.Contrast, c.Contrast), Saturation: max(high.Saturation, c.Saturation), Hue: max(high.Hue, c.Hue)}
	}
	for what, got := range map[string]int{"flips": 2 * flips, "upends": 2 * upends, "no turns": 4 * quarters[0], "turns": 4 * quarters[1], "half turns": 4 * quarters[2], "turns back": 4 * quarters[3]} {
		if got < n*9/10 || got > n*11/10 { // six standard deviations of a quarter's count
			t.Errorf("%s: %d of %d in proportion", what, got, n)
		}
	}
	for i, r := range [][4]float64{{low.Brightness, high.Brightness, 0.6, 1.4}, {low.Contrast, high.Contrast, 0.7, 1.3}, {low.Saturation, high.Saturation, 0.8, 1.2}, {low.Hue, high.Hue, -0.1, 0.1}} {
		if r[0] < r[2] || r[1] > r[3] || r[0] > r[2]+0.02 || r[1] < r[3]-0.02 {
			t.Errorf("colour %d: from %v to %v, want nearly %v to %v", i, r[0], r[1], r[2], r[3])
		}
	}
	for _, a := range []Augment{{Crop: "left"}, {Flip: "yes"}, {Brightness: 2}, {Hue: 0.6}, {Contrast: -1}} {
		if a.Check() == nil {
			t.Errorf("%+v is taken", a)
		}
	}
}

// A streamed set is read by many goroutines at a time; what cannot be read is replaced by the next, and told once.
func TestStreamedUnreadable(t *testing.T) {
	dir := t.TempDir()
	greys(t, dir, 20)
	writeBytes(t, filepath.Join(dir, "c0", "004.png"), []byte("\x89PNG\r\n\x1a\nshort"))
	o := ImageOptions{H: 2, W: 2, C: 1, Stream: true}
	s, err := ReadImages(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, s.Len()*s.Size())
	if err := s.Read(x, 0, s.Len()); err == nil || !strings.Contains(err.Error(), "004.png: corrupt or truncated PNG") || !strings.Contains(err.Error(), "skip_unreadable") {
		t.Errorf("error %v", err)
	}
	o.SkipUnreadable = true
	if s, err = ReadImages(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	var w sync.WaitGroup
	for range 4 {
		w.Go(func() {
			x := readAll(t, s)
			if x[4*4] != x[5*4] || x[3*4] == x[5*4] {
				t.Errorf("sample 4 is %v, want the next, %v", x[4*4], x[5*4])
			}
		})
	}
	w.Wait()
	if note := s.Unreadable(); !strings.Contains(note, "004.png") || s.Unreadable() != "" {
		t.Errorf("note %q, and then again", note)
	}
}

// Archives are read as their files are, with the classes that WebDataset's .cls files, or folders, give.
func TestArchives(t *testing.T) {
	dir := t.TempDir()
	greys(t, filepath.Join(dir, "files"), 20)
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("c%d/%03d.png", i/10, i))
	}
	shard := func(path string, rename func(i int, name string) string, more func(i int) map[string]string) {
		t.Helper()
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		put := func(name string, data []byte) {
			if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
		}
		for i, name := range names {
			data, err := os.ReadFile(filepath.Join(dir, "files", name))
			if err != nil {
				t.Fatal(err)
			}
			put(rename(i, name), data)
			for name, text := range more(i) {
				put(name, []byte(text))
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		writeBytes(t, path, buf.Bytes())
	}
	none := func(int) map[string]string { return nil }
	shard(filepath.Join(dir, "a.tar"), func(_ int, name string) string { return name }, none)
	shard(filepath.Join(dir, "shards", "0.tar"), func(i int, _ string) string { return fmt.Sprintf("%06d.input.png", i) }, func(i int) map[string]string {
		return map[string]string{fmt.Sprintf("%06d.cls", i): fmt.Sprintln(i / 10), fmt.Sprintf("%06d.json", i): "{}"}
	})
	shard(filepath.Join(dir, "lacks.tar"), func(i int, _ string) string { return fmt.Sprintf("%06d.png", i) }, func(i int) map[string]string {
		if i == 7 {
			return nil
		}
		return map[string]string{fmt.Sprintf("%06d.cls", i): "1"}
	})
	list := ""
	for i, name := range names {
		list += fmt.Sprintf("files/%s\tc%d\n", name, i/10)
	}
	writeBytes(t, filepath.Join(dir, "list.txt"), []byte(list))
	read := func(path string, stream bool) (*Set, error) {
		return ReadImages(t.Context(), filepath.Join(dir, path), ImageOptions{H: 3, W: 3, C: 1, Stream: stream})
	}
	want, err := read("files", false)
	if err != nil {
		t.Fatal(err)
	}
	for path, classes := range map[string][]string{"a.tar": {"c0", "c1"}, "shards": nil, "list.txt": {"c0", "c1"}} {
		for _, stream := range []bool{false, true} {
			s, err := read(path, stream)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if !slices.Equal(readAll(t, s), readAll(t, want)) || !slices.Equal(s.Labels, want.Labels) || !slices.Equal(s.Classes, classes) {
				t.Errorf("%s, streamed %v: other samples, labels %v or classes %q", path, stream, s.Labels, s.Classes)
			}
		}
	}
	whole, err := os.ReadFile(filepath.Join(dir, "a.tar"))
	if err != nil {
		t.Fatal(err)
	}
	writeBytes(t, filepath.Join(dir, "cut.tar"), whole[:14336]) // after the data of a file
	writeBytes(t, filepath.Join(dir, "half.txt"), []byte("files/c0/001.png\tc0\nfiles/c0/002.png\n"))
	writeBytes(t, filepath.Join(dir, "binary.txt"), whole)
	writeBytes(t, filepath.Join(dir, "gone.txt"), []byte("files/none.png\n"))
	for path, want := range map[string]string{
		"lacks.tar": "000007.png has no .cls file", "cut.tar": "cut.tar: corrupt or truncated tar archive", "half.txt": "a class behind a tab in 1 of 2 lines",
		"binary.txt": "is no list of pictures: line 1 is no text", "gone.txt": "none.png",
	} {
		if _, err := read(path, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}
