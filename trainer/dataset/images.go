package dataset

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/convae/convae/trainer/picture"
)

// imagesInMemory is the size of a set of pictures, in bytes, beyond which its
// pixels are not held in memory.
var imagesInMemory = 1 << 30

// maxImages bounds the number of pictures.
const maxImages = 1 << 28

// ImageOptions say how the pictures of a folder are read.
type ImageOptions struct {
	H, W, C int // rows, columns and channels (1, grey, or 3) that they are brought to
	Resize  picture.Resize
	Filter  picture.Filter

	// Stream has pictures read whenever they are asked for, instead of once: memory
	// does not grow with their pixels, and they can be augmented. Pictures whose
	// pixels take more than 1 GiB are streamed too, unless Cache is set: then their
	// pixels lie in a file without a name in the cache folder, which the system
	// reads as they are needed, and which [Set.Close] gives back. With both, pictures
	// are decoded and resized when they are first read, and kept in such a file,
	// out of which augmentations are made. Of random parts that file has the whole pictures, as they are resized,
	// and the parts begin at whole pixels of these.
	Stream, Cache bool
	Augment       Augment // of a set that is streamed, by [Set.ReadAugmented] alone

	// SkipUnreadable leaves out, with a note, the pictures that cannot be read.
	// All are then read twice; of a set that is streamed the next one that can be
	// read takes the place of each.
	SkipUnreadable bool

	// HeldOut is the share of the pictures, taken evenly from all, that come
	// last instead of in their places: [Set.Split] of that fraction then has
	// pictures of every folder in both parts.
	HeldOut float64

	Classes []string // names that have labels already, in their order: those of another part of the same data
	Only    []string // classes to take, by name or label; empty: all

	CacheDir string                // for pixels larger than memory; empty: [CacheDir]
	Progress func(done, total int) // is told now and then how many pictures have been read; may be nil
}

// ReadImages reads all pictures in the folder dir and in those within it, and in
// uncompressed tar archives there, or those in such an archive called dir, or
// those that the text file dir lists, a path a line from the file's folder on,
// perhaps with a tab and the picture's class behind, in the order of their paths, as
// [picture.Open] does and as images of one size, see [picture.Fitting]. A file is a picture by its name or, if that has no ending of
// a picture, by its content. Links are followed, but no folder is read twice.
//
// If the pictures are in folders within dir, these are the classes, numbered in
// their order; folders that are all called by numbers of 0 to 255 have those
// labels; a few pictures beside them are left out. The set's notes say what
// was left out.
//
// The files are read by as many goroutines as there are processors.
func ReadImages(ctx context.Context, dir string, o ImageOptions) (*Set, error) {
	if o.H < 1 || o.W < 1 || o.H > 1<<14 || o.W > 1<<14 || o.C != 1 && o.C != 3 {
		return nil, fmt.Errorf("dataset images: size is %d×%d with %d channels, want 1 to %d pixels and 1 or 3 channels", o.H, o.W, o.C, 1<<14)
	}
	if err := o.Augment.Check(); err != nil {
		return nil, fmt.Errorf("dataset images: %w", err)
	}
	if o.Augment != (Augment{}) && !o.Stream {
		return nil, errors.New("dataset images: pictures are augmented when they are read for each epoch: want Stream too")
	}
	found, err := findImages(dir)
	if err != nil {
		return nil, fmt.Errorf("dataset images: %w", err)
	}
	if pixels := len(found.files) * o.H * o.W * o.C; pixels > imagesInMemory && !o.Cache && !o.Stream {
		o.Stream = true
		found.notes = append(found.notes, fmt.Sprintf("the %d pictures have %.1f GB of pixels, so they are read from their files in each epoch (data.cache decodes them once, to a file in the cache folder)", len(found.files), float64(pixels)/1e9))
	}
	if o.SkipUnreadable && !o.Stream {
		if err := found.skipUnreadable(ctx); err != nil {
			return nil, fmt.Errorf("dataset images: %w", err)
		}
	}
	files, labels, classes, err := found.pick(o)
	if err != nil {
		return nil, fmt.Errorf("dataset images: %s: %w", dir, err)
	}
	if o.HeldOut > 0 {
		order := heldOutLast(len(files), o.HeldOut)
		files, labels = rows(files, order, 1), rows(labels, order, 1)
	}
	for i := range files {
		files[i].number = i
	}
	s := &Set{Name: "images", H: o.H, W: o.W, C: o.C, Labels: labels, Classes: classes, Notes: found.notes}
	p := &pictures{dir: dir, files: files, fit: picture.Fitting{H: o.H, W: o.W, C: o.C, Resize: o.Resize, Filter: o.Filter}, augment: o.Augment,
		skip: o.SkipUnreadable && o.Stream, bad: &badFiles{known: map[string]bool{}}}
	if o.Stream {
		s.pictures = p
		if o.Cache {
			if p.cache, err = newCache(o.CacheDir, len(files)); err != nil {
				return nil, fmt.Errorf("dataset images: %w", err)
			}
			s.held = &held{p.cache.close}
		}
		return s, nil
	}
	if err := s.hold(ctx, p, o); err != nil {
		return nil, err
	}
	return s, nil
}

// hold reads all pictures into memory or, if they are too many, into a file.
func (s *Set) hold(ctx context.Context, p *pictures, o ImageOptions) error {
	store, err := newStore(len(p.files)*s.Size(), o.CacheDir)
	if err != nil {
		return fmt.Errorf("dataset images: %w", err)
	}
	if err := p.readAll(ctx, store, o.Progress); err != nil {
		store.close()
		return err
	}
	if s.Pixels, err = store.bytes(); err != nil {
		store.close()
		return fmt.Errorf("dataset images: %w", err)
	}
	s.held = &held{store.close}
	s.files = p.names()
	return nil
}

// heldOutLast returns the numbers 0 to n-1 in order, but those last that a split of the fraction holds out.
func heldOutLast(n int, fraction float64) []int {
	m := n - SplitAt(n, fraction)
	order, last := make([]int, 0, n), make([]int, 0, m)
	for i := range n {
		if len(last) < m && i >= (2*len(last)+1)*n/(2*m) {
			last = append(last, i)
		} else {
			order = append(order, i)
		}
	}
	return append(order, last...)
}

// progressEvery is the number of pictures between two calls of Progress.
const progressEvery = 64

// forEach calls the functions that start makes, one for each of as many
// goroutines as there are processors, for all numbers below n. The error is that
// of the lowest number that has one.
func forEach(ctx context.Context, n int, progress func(done, total int), start func() func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	at, done := n, 0
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			do := start()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				err := context.Cause(ctx)
				if err == nil {
					err = do(i)
				}
				mu.Lock()
				if err == nil {
					done++
					if progress != nil && (done%progressEvery == 0 || done == n) {
						progress(done, n)
					}
				} else {
					next.Store(int64(n))
					if i < at {
						failed, at = err, i
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

// readAll stores the pixels of all pictures. The error is that of the first file that
// has one.
func (p *pictures) readAll(ctx context.Context, to store, progress func(done, total int)) error {
	return forEach(ctx, len(p.files), progress, func() func(i int) error {
		pixels := make([]byte, p.size())
		return func(i int) error {
			if err := p.read(pixels, i, picture.Middle()); err != nil {
				return err
			}
			if err := to.write(pixels, i*len(pixels)); err != nil {
				return fmt.Errorf("dataset images: %w", err)
			}
			return nil
		}
	})
}

// A store takes pixels, in any order, and gives them back.
type store interface {
	write(p []byte, at int) error
	bytes() ([]byte, error)
	close() error
}

func newStore(size int, cacheDir string) (store, error) {
	if size <= imagesInMemory {
		return memory(make([]byte, size)), nil
	}
	cacheDir, err := cacheFolder(cacheDir)
	if err != nil {
		return nil, err
	}
	return newMapped(cacheDir, size)
}

type memory []byte

func (m memory) write(p []byte, at int) error { copy(m[at:], p); return nil }
func (m memory) bytes() ([]byte, error)       { return m, nil }
func (m memory) close() error                 { return nil }
