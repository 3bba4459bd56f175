package dataset

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/convae/convae/trainer/picture"
)

// maskEnding may follow the name of a picture in that of its mask, as it does in the MVTec anomaly detection data set.
const maskEnding = "_mask"

// Masks returns the masks of a streamed set's pictures, in their order and fitted in the same way: grey pictures in the folder dir, where they are
// called as the pictures are in theirs, perhaps with _mask behind the name and with another ending, such as
// hole/003_mask.png for hole/003.png. A picture without a mask is an error, unless it is one of those that need none: its mask is black.
func (s *Set) Masks(dir string, needless func(i int) bool) (*Set, error) {
	if s.pictures == nil {
		return nil, errors.New("dataset masks: want a set that is streamed")
	}
	found := folder{dir: dir, walked: map[string]bool{}}
	if err := found.find(); err != nil {
		return nil, fmt.Errorf("dataset masks: %w", err)
	}
	byName := map[string]file{}
	for _, f := range found.files {
		byName[strings.TrimSuffix(nameWithin(dir, f.path), maskEnding)] = f
	}
	p := s.pictures.with(nil)
	p.dir, p.skip, p.cache, p.fit.C = dir, false, nil, 1
	for i, f := range s.pictures.files {
		name := nameWithin(s.pictures.dir, f.path)
		mask, ok := byName[name]
		if !ok && !needless(i) {
			return nil, fmt.Errorf("dataset masks: %s has no mask of %s: want a picture %s%s, or without that ending", dir, f.path, filepath.Join(dir, name), maskEnding)
		}
		p.files = append(p.files, mask)
	}
	return &Set{Name: "masks", H: s.H, W: s.W, C: 1, pictures: p}, nil
}

// nameWithin is the path of a picture from a folder on, without its ending.
func nameWithin(dir, path string) string {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		rel = path
	}
	if picture.HasName(rel) {
		rel = strings.TrimSuffix(rel, filepath.Ext(rel))
	}
	return filepath.ToSlash(rel)
}
