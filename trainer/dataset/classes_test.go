package dataset

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestNumberClasses(t *testing.T) {
	for _, c := range []struct {
		what         string
		names, known []string
		labels       []uint8
		classes      []string
	}{
		{"names in their order", []string{"fox", "cat", "fox"}, nil, []uint8{1, 0, 1}, []string{"cat", "fox"}},
		{"numbers are labels", []string{"10", "2", "0"}, nil, []uint8{10, 2, 0}, nil},
		{"and so are those with a fraction of 0", []string{"0.0", "1.0", "10.0", "007"}, nil, []uint8{0, 1, 10, 7}, nil},
		{"larger numbers by size", []string{"1000", "300", "9"}, nil, []uint8{2, 1, 0}, []string{"9", "300", "1000"}},
		{"numbers before names", []string{"b", "10", "2", "a"}, nil, []uint8{3, 1, 0, 2}, []string{"2", "10", "a", "b"}},
		{"known names", []string{"fox", "dog"}, []string{"cat", "dog", "fox"}, []uint8{2, 1}, []string{"cat", "dog", "fox"}},
		{"and others after them", []string{"ant", "fox", "1"}, []string{"fox", "cat"}, []uint8{3, 0, 2}, []string{"fox", "cat", "1", "ant"}},
	} {
		labels, classes, err := numberClasses(c.names, c.known)
		if err != nil || !slices.Equal(labels, c.labels) || !reflect.DeepEqual(classes, c.classes) {
			t.Errorf("%s: %v %v, %v; want %v %v", c.what, labels, classes, err, c.labels, c.classes)
		}
	}
}

func TestFindLabels(t *testing.T) {
	s := &Set{Classes: []string{"cat", "1", "fox"}}
	if got, err := s.FindLabels([]string{"fox", "1", "0"}); err != nil || !slices.Equal(got, []int{2, 1, 0}) {
		t.Errorf("%v, %v; want 2, the class that is called 1, and the number 0", got, err)
	}
	for _, c := range []struct {
		s          *Set
		name, want string
	}{{s, "wolf", `there is no class "wolf", want some of cat, 1, fox`}, {s, "3", `there is no class "3", want some of`},
		{&Set{}, "wolf", `there is no class "wolf", want a number of 0 to 255`}, {&Set{}, "256", "want a number of 0 to 255"}} {
		if _, err := c.s.FindLabels([]string{c.name}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// Folders that are called by numbers have these for labels; of others the known ones keep theirs, and some can be chosen.
func TestReadImagesOfClasses(t *testing.T) {
	for _, c := range []struct {
		folders []string
		o       ImageOptions
		labels  []uint8
		classes []string
	}{
		{[]string{"0", "1", "2", "10"}, ImageOptions{}, []uint8{0, 1, 10, 2}, nil},
		{[]string{"0", "1", "2", "10"}, ImageOptions{Only: []string{"2", "10"}}, []uint8{10, 2}, nil},
		{[]string{"dog", "fox"}, ImageOptions{Classes: []string{"cat", "dog", "fox"}}, []uint8{1, 2}, []string{"cat", "dog", "fox"}},
		{[]string{"dog", "fox"}, ImageOptions{Only: []string{"fox"}}, []uint8{1}, []string{"dog", "fox"}},
	} {
		dir := t.TempDir()
		for _, name := range c.folders {
			writePNG(t, filepath.Join(dir, name, "a.png"))
		}
		c.o.H, c.o.W, c.o.C = 2, 2, 1
		s, err := ReadImages(t.Context(), dir, c.o)
		if err != nil || !slices.Equal(s.Labels, c.labels) || !reflect.DeepEqual(s.Classes, c.classes) || s.Len() != len(c.labels) {
			t.Errorf("%v: %+v, %v; want labels %v of %v", c.folders, s, err, c.labels, c.classes)
		}
	}
}

func writePNG(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err == nil {
		err = png.Encode(f, image.NewGray(image.Rect(0, 0, 2, 2)))
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
