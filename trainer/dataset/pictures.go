package dataset

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"image"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/convae/convae/nn/regularfile"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/picture"
)

// A file is a picture's, alone or within an archive.
type file struct {
	path    string // that errors name; within an archive it goes on with the name there; "" for a black picture
	class   string // "" for none
	archive string // in which it lies, "" for none
	at      int64  // where it begins in the archive
	size    int64  // bytes, or 0 if that is not known
	number  int    // among those of the set that was read
}

// names returns the paths of the pictures from their folder on, or as they are if they do not lie in it.
func (p *pictures) names() []string {
	names := make([]string, len(p.files))
	for i, f := range p.files {
		name, err := filepath.Rel(p.dir, f.path)
		if err != nil || strings.HasPrefix(name, "..") {
			name = f.path
		}
		names[i] = filepath.ToSlash(name)
	}
	return names
}

// open decodes the picture, with the errors of [picture.Open].
func (f file) open() (image.Image, error) {
	if f.archive == "" {
		return picture.Open(f.path)
	}
	r, err := regularfile.Open(f.archive)
	if err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	defer r.Close()
	m, err := picture.Decode(io.NewSectionReader(r, f.at, f.size))
	if err != nil {
		return nil, fmt.Errorf("picture: %s: %w", f.path, err)
	}
	return m, nil
}

// pictures are samples that are read from their files whenever they are asked for.
type pictures struct {
	dir     string // that paths go on from
	files   []file
	fit     picture.Fitting
	augment Augment
	skip    bool // what cannot be read is replaced by what comes next
	bad     *badFiles
	cache   *cache // of what has been read, or nil
}

// badFiles are those that could not be read, and of which nobody has been told.
type badFiles struct {
	sync.Mutex
	known map[string]bool
	new   []string
}

// with returns other pictures that are read in the same way.
func (p *pictures) with(files []file) *pictures {
	q := *p
	q.files = files
	return &q
}

func (p *pictures) size() int { return p.fit.H * p.fit.W * p.fit.C }

// read reads picture i as the view says.
func (p *pictures) read(dst []byte, i int, v picture.View) error {
	for k := range p.files {
		f := p.files[(i+k)%len(p.files)]
		if f.path == "" {
			clear(dst)
			return nil
		}
		turned := v.Quarter%2 == 1 && p.fit.H != p.fit.W
		if p.cache != nil {
			m, err := p.cache.get(f.number, turned)
			if err != nil {
				return fmt.Errorf("dataset images: %w", err)
			}
			if m != nil {
				p.fit.Cut(dst, m, v)
				return nil
			}
		}
		m, err := f.open()
		if err == nil && p.cache == nil {
			p.fit.Fit(dst, m, v)
			return nil
		}
		if err == nil {
			scaled := p.fit.Scaled(m, turned, p.augment.Crop == "random")
			if err := p.cache.put(f.number, turned, scaled); err != nil {
				return fmt.Errorf("dataset images: %w", err)
			}
			p.fit.Cut(dst, scaled, v)
			return nil
		}
		if !p.skip {
			return fmt.Errorf("dataset images: %w; --skip-unreadable (data.skip_unreadable) leaves such files out", err)
		}
		p.bad.add(f.path)
	}
	return fmt.Errorf("dataset images: %s has no picture that can be read", p.dir)
}

func (b *badFiles) add(path string) {
	b.Lock()
	defer b.Unlock()
	if !b.known[path] {
		b.known[path] = true
		b.new = append(b.new, path)
	}
}

// readFloats reads pictures lo to hi-1 without any augmentation.
func (p *pictures) readFloats(dst []float32, lo, hi int) error {
	size := p.size()
	return forEach(context.Background(), hi-lo, nil, func() func(i int) error {
		pixels := make([]byte, size)
		return func(i int) error {
			if err := p.read(pixels, lo+i, picture.Middle()); err != nil {
				return err
			}
			for j, v := range pixels {
				dst[i*size+j] = float32(v) / 255
			}
			return nil
		}
	})
}

// ReadAugmented copies the pixels of sample i to dst, H×W×C bytes, as an
// augmentation draws them from a seed the time that it is read in that draw, an
// epoch. Sets that are not streamed have no augmentation. Any number of
// goroutines may read at the same time.
func (s *Set) ReadAugmented(dst []byte, i int, seed uint64, draw uint32) error {
	if s.pictures == nil {
		copy(dst, s.Image(i))
		return nil
	}
	return s.pictures.read(dst, i, s.pictures.augment.view(rng.Source{Seed: seed, Stream: rng.StreamAugment}, uint32(i), draw))
}

// Unreadable returns a note about the files that could not be read since it was
// last asked for, and were replaced by others; "" if there are none.
func (s *Set) Unreadable() string {
	if s.pictures == nil {
		return ""
	}
	b := s.pictures.bad
	b.Lock()
	defer b.Unlock()
	if len(b.new) == 0 {
		return ""
	}
	slices.Sort(b.new)
	f := folder{}
	f.note(b.new, "picture", "that cannot be read, and took the next ones instead")
	b.new = nil
	return f.notes[0]
}

// Identify writes to h what tells the samples from others, wherever they lie:
// pixels and values or, of a set that is streamed, the names and sizes of its
// files.
func (s *Set) Identify(h hash.Hash) {
	h.Write(s.Pixels)
	var b [4]byte
	for _, v := range s.Values {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		h.Write(b[:])
	}
	if s.pictures == nil {
		return
	}
	for _, f := range s.pictures.files {
		rel, err := filepath.Rel(s.pictures.dir, f.path)
		if err != nil {
			rel = f.path
		}
		fmt.Fprintf(h, "%q %d\n", filepath.ToSlash(rel), f.size)
	}
}

// Bytes returns what the set holds of the host's memory.
func (s *Set) Bytes() int {
	n := len(s.Pixels) + 4*len(s.Values) + len(s.Labels)
	if s.pictures != nil {
		for _, f := range s.pictures.files {
			n += int(unsafe.Sizeof(f)) + len(f.path)
		}
		if s.pictures.cache != nil {
			n += 8 * len(s.pictures.cache.at)
		}
	}
	return n
}

// An Augment says how pictures are changed each time that they are read for
// training. What is drawn depends on the seed, the sample and the epoch alone.
type Augment struct {
	Crop   string `yaml:"crop,omitempty"`   // which part is cut out: middle (default) or random
	Flip   string `yaml:"flip,omitempty"`   // which sides are swapped every other time: horizontal, vertical or both
	Rotate bool   `yaml:"rotate,omitempty"` // by 0, 90, 180 or 270 degrees
	// Factors are drawn from 1-v to 1+v, hues are shifted by up to v turns; see [picture.Colours].
	Brightness float64 `yaml:"brightness,omitempty"`
	Contrast   float64 `yaml:"contrast,omitempty"`
	Saturation float64 `yaml:"saturation,omitempty"`
	Hue        float64 `yaml:"hue,omitempty"`
}

// flips say which sides each word swaps.
var flips = map[string]struct{ horizontal, vertical bool }{"": {}, "horizontal": {true, false}, "vertical": {false, true}, "both": {true, true}}

// Check reports the first field that cannot be.
func (a Augment) Check() error {
	if a.Crop != "" && a.Crop != "middle" && a.Crop != "random" {
		return fmt.Errorf("crop is %q, want middle or random", a.Crop)
	}
	if _, ok := flips[a.Flip]; !ok {
		return fmt.Errorf("flip is %q, want horizontal, vertical or both", a.Flip)
	}
	for _, f := range []struct {
		name    string
		v, most float64
	}{{"brightness", a.Brightness, 1}, {"contrast", a.Contrast, 1}, {"saturation", a.Saturation, 1}, {"hue", a.Hue, 0.5}} {
		if !(f.v >= 0 && f.v <= f.most) {
			return fmt.Errorf("%s is %v, want 0 to %v", f.name, f.v, f.most)
		}
	}
	return nil
}

// view draws how a sample is looked at.
func (a Augment) view(src rng.Source, sample, draw uint32) picture.View {
	v := picture.Middle()
	where, more := src.Uniforms(0, sample, draw), src.Uniforms(1, sample, draw)
	if a.Crop == "random" {
		v.X, v.Y = float64(where[0]), float64(where[1])
	}
	f := flips[a.Flip]
	v.Flip, v.Upend = f.horizontal && where[2] < 0.5, f.vertical && where[3] < 0.5
	if a.Rotate {
		v.Quarter = int(4 * src.Uniforms(2, sample, draw)[0])
	}
	between := func(u float32, by float64) float64 { return by * (2*float64(u) - 1) }
	v.Colours = picture.Colours{Brightness: 1 + between(more[0], a.Brightness), Contrast: 1 + between(more[1], a.Contrast),
		Saturation: 1 + between(more[2], a.Saturation), Hue: between(more[3], a.Hue)}
	return v
}
