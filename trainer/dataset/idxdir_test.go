package dataset

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// idxDir returns a folder with a data set of two images for training and
// three for testing, its files named in all the ways there are.
func idxDir(t *testing.T) string {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "train-images-idx3-ubyte"), goodImages)
	writeFile(t, filepath.Join(dir, "train-labels.idx1-ubyte"), goodLabels)
	writeFile(t, filepath.Join(dir, "t10k-images.idx3-ubyte.gz"), zipped(idxFile(0x803, []uint32{3, 1, 3}, 1, 2, 3, 4, 5, 6, 7, 8, 9)))
	writeFile(t, filepath.Join(dir, "t10k-labels-idx1-ubyte.gz"), zipped(idxFile(0x801, []uint32{3}, 4, 5, 6)))
	return dir
}

func TestLoadIDXDir(t *testing.T) {
	train, test, err := LoadIDXDir(idxDir(t), "some")
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 2 || test.Len() != 3 || train.Name != "some" || test.Name != "some" {
		t.Errorf("sets are %+v and %+v", train, test)
	}
	if !slices.Equal(train.Labels, []uint8{7, 9}) || !slices.Equal(test.Labels, []uint8{4, 5, 6}) {
		t.Errorf("labels are %v and %v", train.Labels, test.Labels)
	}
}

func TestLoadIDXDirErrors(t *testing.T) {
	for _, c := range []struct {
		file string // to be replaced, or removed if there is no content
		data []byte
		want string
	}{
		{"train-labels.idx1-ubyte", nil, "looked for train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz or train-labels.idx1-ubyte or train-labels.idx1-ubyte.gz"},
		{"train-labels.idx1-ubyte", idxFile(0x801, []uint32{3}, 1, 2, 3), "has 3 labels, want 2"},
		{"train-labels.idx1-ubyte", goodImages, "want 0x00000801 (labels)"},
		{"train-images-idx3-ubyte", idxFile(0x803, []uint32{2, 3, 1}, 1, 2, 3, 4, 5, 6), "has images of 1×3, want 3×1"},
		{"t10k-images.idx3-ubyte.gz", []byte{0x1f, 0x8b, 1}, "cut off"},
	} {
		dir := idxDir(t)
		path := filepath.Join(dir, c.file)
		if c.data == nil {
			os.Remove(path)
		} else {
			writeFile(t, path, c.data)
		}
		_, _, err := LoadIDXDir(dir, "some")
		if err == nil || !strings.HasPrefix(err.Error(), "dataset some: ") || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("error is %q, want %q and the directory in it", err, c.want)
		}
	}
	_, _, err := LoadIDXDir(t.TempDir(), "some")
	for _, file := range []string{trainImages, trainLabels, testImages, testLabels} {
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("error for an empty directory is %q, want %s in it", err, file)
		}
	}
}
