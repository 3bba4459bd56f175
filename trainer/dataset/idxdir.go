package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The four files of MNIST and of the data sets that follow it.
const (
	trainImages = "train-images-idx3-ubyte"
	trainLabels = "train-labels-idx1-ubyte"
	testImages  = "t10k-images-idx3-ubyte"
	testLabels  = "t10k-labels-idx1-ubyte"
)

// LoadIDXDir reads a data set from the four files in dir that MNIST consists
// of: train-images-idx3-ubyte, train-labels-idx1-ubyte, and the same of t10k.
// They may be gzipped and end in .gz, and may have a dot in place of the
// second hyphen. Both sets get the given name. The error for missing files
// lists what was looked for.
func LoadIDXDir(dir string, name string) (train, test *Set, err error) {
	var paths, missing []string
	for _, file := range []string{trainImages, trainLabels, testImages, testLabels} {
		path, tried := findIDX(dir, file)
		if path == "" {
			missing = append(missing, strings.Join(tried, " or "))
		}
		paths = append(paths, path)
	}
	if missing != nil {
		return nil, nil, fmt.Errorf("dataset %s: files missing in directory %s: looked for %s", name, dir, strings.Join(missing, "; "))
	}
	if train, err = readLabelled(paths[0], paths[1]); err != nil {
		return nil, nil, fmt.Errorf("dataset %s: %w", name, err)
	}
	if test, err = readLabelled(paths[2], paths[3]); err != nil {
		return nil, nil, fmt.Errorf("dataset %s: %w", name, err)
	}
	if train.H != test.H || train.W != test.W {
		return nil, nil, fmt.Errorf("dataset %s: %s has images of %d×%d, want %d×%d as in %s", name, paths[2], test.H, test.W, train.H, train.W, paths[0])
	}
	train.Name, test.Name = name, name
	return train, test, nil
}

// findIDX returns the path of file in dir under any of its names, or the
// empty path and those names.
func findIDX(dir, file string) (path string, tried []string) {
	dotted := strings.Replace(file, "-idx", ".idx", 1)
	tried = []string{file, file + ".gz", dotted, dotted + ".gz"}
	for _, t := range tried {
		path = filepath.Join(dir, t)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, nil
		}
	}
	return "", tried
}

// readLabelled reads images and the labels that belong to them.
func readLabelled(images, labels string) (*Set, error) {
	s, err := ReadIDXImages(images)
	if err != nil {
		return nil, err
	}
	s.Labels, err = ReadIDXLabels(labels)
	if err != nil {
		return nil, err
	}
	if len(s.Labels) != s.Len() {
		return nil, fmt.Errorf("%s has %d labels, want %d as there are images in %s", labels, len(s.Labels), s.Len(), images)
	}
	return s, nil
}
