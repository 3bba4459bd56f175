package dataset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/convae/convae/trainer/picture"
)

// folder is what a folder of pictures holds.
type folder struct {
	dir   string
	files []file   // the pictures, in the order of their paths
	notes []string // what is left out, and why

	loose  bool            // archives are files that are no pictures
	other  []string        // files that are no pictures
	again  []string        // folders that a link leads to once more
	walked map[string]bool // folders that have been listed, without links
}

// findImages lists the pictures in a folder and in those within it.
func findImages(dir string) (*folder, error) {
	f := &folder{dir: dir, walked: map[string]bool{}}
	if err := f.look(); err != nil {
		return nil, err
	}
	f.leaveStray()
	return f, nil
}

// PictureFiles lists the pictures in a folder and in those within it, as
// [ReadImages] finds them but for those in archives, by their paths in it. Notes
// say what is left out, such as folders that a link leads to once more.
func PictureFiles(dir string) (paths, notes []string, err error) {
	f := &folder{dir: dir, walked: map[string]bool{}, loose: true}
	if err := f.look(); err != nil {
		return nil, nil, err
	}
	for _, file := range f.files {
		path, err := filepath.Rel(dir, file.path)
		if err != nil {
			return nil, nil, err
		}
		paths = append(paths, path)
	}
	return paths, f.notes, nil
}

// look finds what there is, and notes what is no picture. To find none is an error.
func (f *folder) look() error {
	err := f.find()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no folder %s", f.dir)
	}
	if err != nil {
		return err
	}
	f.note(f.other, "file", "that %s no "+picture.Formats)
	f.note(f.again, "folder", "that %s here twice, by a link")
	if len(f.files) == 0 {
		return fmt.Errorf("%s has no %s file%s", f.dir, picture.Formats, strings.Join(append([]string{""}, f.notes...), "; "))
	}
	return nil
}

// find lists what there is in a folder, an archive, or a list.
func (f *folder) find() error {
	info, err := os.Stat(f.dir)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return f.walk(f.dir)
	case isArchive(f.dir):
		return f.unpack(f.dir)
	}
	return f.list(f.dir)
}

// walk lists a folder and those within it. Names that begin with a dot are
// hidden and not looked at.
func (f *folder) walk(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	if f.walked[real] {
		f.again = append(f.again, dir)
		return nil
	}
	f.walked[real] = true
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path) // of what a link leads to
		switch {
		case err == nil && info.IsDir():
			if err := f.walk(path); err != nil {
				return err
			}
		case err == nil && isArchive(path) && !f.loose:
			if err := f.unpack(path); err != nil {
				return err
			}
		case picture.HasName(path):
			f.add(path, info)
		default:
			if ok, err := picture.HasContent(path); err == nil && ok {
				f.add(path, info)
			} else {
				f.other = append(f.other, path)
			}
		}
		if len(f.files) > maxImages {
			return fmt.Errorf("%s has more than %d pictures", f.dir, maxImages)
		}
	}
	return nil
}

// within returns the folder within f that holds a file, "" if it lies beside the
// folders.
func (f *folder) within(path string) string {
	rel, err := filepath.Rel(f.dir, path)
	if class, _, ok := strings.Cut(rel, string(filepath.Separator)); ok && err == nil {
		return class
	}
	return ""
}

// add adds a picture, whose class is the folder within f that holds it. info is
// nil if nothing is known of the file.
func (f *folder) add(path string, info fs.FileInfo) {
	p := file{path: path, class: f.within(path)}
	if info != nil {
		p.size = info.Size()
	}
	f.files = append(f.files, p)
}

// classes lists the folders within f that hold pictures, and "" if some lie
// beside them.
func (f *folder) classes() []string {
	var classes []string
	for _, file := range f.files {
		c, n := file.class, len(classes)
		if n > 0 && classes[n-1] == c || slices.Contains(classes, c) {
			continue
		}
		classes = append(classes, c)
	}
	return classes
}

// leaveStray leaves out the pictures beside folders of classes if they are few:
// a preview, perhaps. Many of them mean that the folders are no classes.
func (f *folder) leaveStray() {
	var stray []string
	var inside []file
	for _, file := range f.files {
		if file.class == "" {
			stray = append(stray, file.path)
		} else {
			inside = append(inside, file)
		}
	}
	folders := len(f.classes()) - 1
	switch {
	case len(stray) == 0 || folders < 2:
	case len(stray) <= max(folders, len(inside)/10) && len(stray) < len(inside):
		f.files = inside
		f.note(stray, "picture", "that %s beside the folders of classes")
	default:
		f.notes = append(f.notes, fmt.Sprintf("there are no labels: %d of the %d pictures lie beside the folders", len(stray), len(f.files)))
	}
}

// pick returns the pictures of the wanted classes, and labels that number the
// classes: none if there are no classes, or too many.
func (f *folder) pick(o ImageOptions) (files []file, labels []uint8, classes []string, err error) {
	names := make([]string, len(f.files))
	for i, file := range f.files {
		names[i] = file.class
	}
	if !slices.Contains(names, "") {
		labels, classes, err = numberClasses(names, o.Classes)
	}
	if err != nil {
		f.notes = append(f.notes, fmt.Sprintf("there are no labels: the pictures are in %d folders, more than %d classes", len(f.classes()), maxClasses))
		labels, classes = nil, nil
	}
	if o.Only == nil {
		return f.files, labels, classes, nil
	}
	wanted, err := findLabels(classes, o.Only)
	if err != nil {
		return nil, nil, nil, err
	}
	at, err := having(labels, wanted, (&Set{Classes: classes}).Class)
	return rows(f.files, at, 1), rows(labels, at, 1), classes, err
}

// skipUnreadable leaves out the pictures that cannot be read.
func (f *folder) skipUnreadable(ctx context.Context) error {
	var mu sync.Mutex
	bad := map[string]bool{}
	err := forEach(ctx, len(f.files), nil, func() func(i int) error {
		return func(i int) error {
			if _, err := f.files[i].open(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				bad[f.files[i].path] = true
			}
			return nil
		}
	})
	if err != nil {
		return err
	}
	var left []string
	f.files = slices.DeleteFunc(f.files, func(p file) bool {
		if bad[p.path] {
			left = append(left, p.path)
		}
		return bad[p.path]
	})
	f.note(left, "picture", "that cannot be read")
	if len(f.files) == 0 {
		return fmt.Errorf("%s has no picture that can be read", f.dir)
	}
	return nil
}

// mostNamed is the number of files that a note names.
const mostNamed = 5

// note says which files of a kind are left out; a %s in why is "is" or "are".
func (f *folder) note(files []string, kind, why string) {
	if len(files) == 0 {
		return
	}
	verb := "is"
	if len(files) > 1 {
		kind, verb = kind+"s", "are"
	}
	if strings.Contains(why, "%s") {
		why = fmt.Sprintf(why, verb)
	}
	var named []string
	for _, file := range files[:min(len(files), mostNamed)] {
		if strings.ContainsFunc(file, func(r rune) bool { return !strconv.IsPrint(r) }) {
			file = strconv.Quote(file) // it might move a terminal's cursor
		}
		named = append(named, file)
	}
	names := strings.Join(named, ", ")
	if n := len(files) - mostNamed; n > 0 {
		names += fmt.Sprintf(" and %d more", n)
	}
	f.notes = append(f.notes, fmt.Sprintf("left out %d %s %s: %s", len(files), kind, why, names))
}

// ImageSize returns the size of the first picture in a folder that can be read,
// reduced until no side is longer than most, and its channels.
func ImageSize(dir string, most int) (h, w, c int, err error) {
	f, err := findImages(dir)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("dataset images: %w", err)
	}
	for _, file := range f.files {
		m, e := file.open()
		if e != nil {
			err = cmp.Or(err, e)
			continue
		}
		h, w, c = m.Bounds().Dy(), m.Bounds().Dx(), 3
		if picture.IsGrey(m) {
			c = 1
		}
		if side := max(h, w); side > most {
			h, w = max(h*most/side, 1), max(w*most/side, 1)
		}
		return h, w, c, nil
	}
	return 0, 0, 0, fmt.Errorf("dataset images: %w", err)
}
