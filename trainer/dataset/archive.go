package dataset

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/convae/convae/nn/regularfile"
	"github.com/convae/convae/trainer/picture"
)

// mostClassBytes bounds what a file of a class in an archive has in it.
const mostClassBytes = 1 << 10

func isArchive(path string) bool { return strings.EqualFold(filepath.Ext(path), ".tar") }

// unpack adds the pictures in an uncompressed tar archive: a shard as WebDataset
// has them, where files of one name up to its first dot are one sample, and one
// that ends in .cls has its class; without such, the folder in the archive is
// one, or that which the archive lies in.
func (f *folder) unpack(archive string) error {
	r, err := regularfile.Open(archive)
	if err != nil {
		return err
	}
	defer r.Close()
	first := len(f.files)
	classes := map[string]string{} // by name of a sample
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			err = checkEnd(r)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: corrupt or truncated tar archive: %w", archive, err)
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || strings.HasPrefix(path.Base(name), ".") {
			continue
		}
		switch {
		case path.Ext(name) == ".cls":
			text, err := io.ReadAll(io.LimitReader(t, mostClassBytes))
			if err != nil {
				return fmt.Errorf("%s: %s: corrupt or truncated tar archive: %w", archive, name, err)
			}
			classes[sampleName(name)] = strings.TrimSpace(string(text))
		case picture.HasName(name):
			at, err := r.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			p := file{path: filepath.Join(archive, filepath.FromSlash(name)), class: f.within(archive), archive: archive, at: at, size: h.Size}
			if class, _, ok := strings.Cut(name, "/"); ok {
				p.class = class
			}
			f.files = append(f.files, p)
		}
		if len(f.files) > maxImages {
			return fmt.Errorf("%s has more than %d pictures", f.dir, maxImages)
		}
	}
	if len(classes) == 0 {
		return nil
	}
	for i := range f.files[first:] {
		p := &f.files[first+i]
		name, err := filepath.Rel(archive, p.path)
		if err != nil {
			return err
		}
		class, ok := classes[sampleName(filepath.ToSlash(name))]
		if !ok {
			return fmt.Errorf("%s has no .cls file beside it as others in the archive have", p.path)
		}
		p.class = class
	}
	return nil
}

// checkEnd returns io.EOF for an archive that ends in zeros, as a whole one does.
func checkEnd(r io.ReadSeeker) error {
	var end [512]byte
	if _, err := r.Seek(-int64(len(end)), io.SeekEnd); err != nil {
		return io.ErrUnexpectedEOF
	}
	if _, err := io.ReadFull(r, end[:]); err != nil {
		return err
	}
	if end != [512]byte{} {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

// sampleName returns what the files of a sample have in common: the name up to the first dot after the folders.
func sampleName(name string) string {
	dir, base := path.Split(name)
	base, _, _ = strings.Cut(base, ".")
	return dir + base
}
