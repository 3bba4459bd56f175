package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
)

// standard names the standard input or output in the place of a file.
const standard = "-"

// pictureFile is a picture to be read, and the PNG that is made of it.
type pictureFile struct {
	in, out string
	folder  bool // out lies in a folder that is made if there is none
}

// pictureFiles says what becomes of the pictures that in names: files, folders with all that is in them, or the standard input. A single file becomes
// the file out, or goes to the standard output. Of several files, or of a folder, out is a folder for pictures of the same names; what is in a folder stays in
// folders below it. Notes say what else is in folders.
func pictureFiles(in []string, out string) (files []pictureFile, notes []string, err error) {
	if len(in) == 1 && !isFolder(in[0]) && !isFolder(out) && !strings.HasSuffix(out, string(filepath.Separator)) {
		if out != standard {
			if err := checkOutput(out, in[0], ".png"); err != nil {
				return nil, nil, err
			}
		}
		return []pictureFile{{in: in[0], out: out}}, nil, nil
	}
	if out == standard || hasEnding(out, ".png") {
		return nil, nil, fmt.Errorf("output is %s, want the name of a folder for what becomes of several pictures", out)
	}
	for _, path := range in {
		switch {
		case path == standard:
			return nil, nil, errors.New("of several pictures none can be the standard input: want names of files, or - alone")
		case !isFolder(path):
			files = append(files, pictureFile{path, filepath.Join(out, pngName(filepath.Base(path))), true})
			continue
		}
		found, left, err := dataset.PictureFiles(path)
		if err != nil {
			return nil, nil, err
		}
		notes = append(notes, left...)
		if err := checkApart(out, path, found); err != nil {
			return nil, nil, err
		}
		for _, name := range found {
			files = append(files, pictureFile{filepath.Join(path, name), filepath.Join(out, pngName(name)), true})
		}
	}
	return files, notes, checkPairs(files)
}

// checkApart reports an output folder that lies in an input, or in a folder with pictures that a link in that leads to.
func checkApart(out, in string, found []string) error {
	checked := map[string]bool{}
	for _, name := range found {
		for dir := filepath.Dir(name); !checked[dir]; dir = filepath.Dir(dir) { // up to ".", which is in itself
			checked[dir] = true
			inside, err := isWithin(out, filepath.Join(in, dir))
			if err != nil {
				return err
			}
			if inside {
				return fmt.Errorf("output folder %s lies in the input %s: want it elsewhere, so that what is written is not read", out, filepath.Join(in, dir))
			}
		}
	}
	return nil
}

// checkPairs reports two pictures that would become the same file, and one that would be lost.
func checkPairs(files []pictureFile) error {
	from := map[string]string{}
	for _, f := range files {
		if other, ok := from[f.out]; ok {
			return fmt.Errorf("%s and %s would both become %s: convert them one by one, or rename one", other, f.in, f.out)
		}
		from[f.out] = f.in
		if err := checkOutput(f.out, f.in, ".png"); err != nil {
			return err
		}
	}
	return nil
}

// pngName is the name of the PNG that a file of that name becomes.
func pngName(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) + ".png" }

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// isWithin reports whether path is dir or lies in it, links or not.
func isWithin(path, dir string) (bool, error) {
	top, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false, err
	}
	if top, err = filepath.Abs(top); err != nil {
		return false, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return false, err
	}
	rest := ""
	for { // what is not there yet has no links
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			path = filepath.Join(real, rest)
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path {
			return false, err
		}
		path, rest = filepath.Dir(path), filepath.Join(filepath.Base(path), rest)
	}
	rel, err := filepath.Rel(top, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)), nil
}

// maxInput bounds what is read from the standard input, which has no size of its own.
const maxInput = 1 << 30

// openPicture reads a picture from a file or, if its name is -, from stdin.
func openPicture(path string, stdin io.Reader) (image.Image, error) {
	if path != standard {
		return picture.Open(path)
	}
	data, err := io.ReadAll(io.LimitReader(stdin, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("more than %d bytes", maxInput)
	}
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("nothing came, want a %s file", picture.Formats)
	}
	var m image.Image
	if err == nil {
		m, err = picture.Decode(bytes.NewReader(data))
	}
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return m, nil
}

// writeFile writes a file whole or not at all or, if its name is -, to stdout.
func writeFile(path string, stdout io.Writer, write func(io.Writer) error) error {
	if path != standard {
		return atomicfile.Write(path, write)
	}
	var b bytes.Buffer // nothing comes out of a picture that cannot be finished
	if err := write(&b); err != nil {
		return err
	}
	_, err := unprinted(stdout).Write(b.Bytes())
	return err
}

// telling is where a command says what it has written to a file: not among what it writes itself, if that goes to the standard output.
func telling(c *cobra.Command, out string) io.Writer {
	if out == standard {
		return c.ErrOrStderr()
	}
	return c.OutOrStdout()
}
