package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
)

// Scenes are exported as a folder of pictures that is read back with the same pixels, and never over what is there.
func TestExportScenes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "scenes")
	mustRun(t, dataCommand(), "scenes", "--size", "12,20,3", "--seed", "4", "--export", dir)
	d := trainer.Data{Name: "images", Dir: dir}
	d.Size.H, d.Size.W, d.Channels = 12, 20, 3
	train, test, err := d.Load(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := dataset.Scenes(2400, 12, 20, 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(slices.Concat(train.Pixels, test.Pixels), want.Pixels) {
		t.Error("the pictures are read back with other pixels")
	}
	wantError(t, "is there already", dataCommand(), "scenes", "--export", dir)
}
