package dataset

import (
	"bufio"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/convae/convae/nn/regularfile"
)

// list adds the pictures that a text file lists: a path a line, from the file's
// folder on, perhaps with a tab and the picture's class behind.
func (f *folder) list(path string) error {
	r, err := regularfile.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	line, labelled := 0, 0
	for lines.Scan() {
		line++
		text := strings.TrimRight(lines.Text(), " \r")
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return fmt.Errorf("%s is no list of pictures: line %d is no text; want a folder, a .tar archive, or a text file with a path a line", path, line)
		}
		if text == "" {
			continue
		}
		name, class, _ := strings.Cut(text, "\t")
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), filepath.FromSlash(name))
		}
		if class != "" {
			labelled++
		}
		f.files = append(f.files, file{path: name, class: class})
		if len(f.files) > maxImages {
			return fmt.Errorf("%s has more than %d pictures", path, maxImages)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: line %d: %w", path, line+1, err)
	}
	if labelled > 0 && labelled < len(f.files) {
		return fmt.Errorf("%s has a class behind a tab in %d of %d lines, want one in all or in none", path, labelled, len(f.files))
	}
	return nil
}
