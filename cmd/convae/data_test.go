package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
)

func TestData(t *testing.T) {
	out := mustRun(t, dataCommand())
	for _, want := range []string{"digits: 28 x 28 pixels, channels: 1", "train  images: 12000, mean intensity: 0.", "test   images: 2000", "0: 1200, 1: 1200", "9: 200\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q lacks %q", out, want)
		}
	}
}

func TestMeanIntensity(t *testing.T) {
	if v := meanIntensity(&dataset.Set{H: 1, W: 2, C: 1, Pixels: []uint8{0, 255, 255, 0}}); v != 0.5 {
		t.Errorf("%v, want 0.5", v)
	}
}

// What is exported is what is read back; nothing is overwritten.
func TestDataExport(t *testing.T) {
	t.Chdir(t.TempDir())
	mustRun(t, dataCommand(), "digits", "--export", "new/dir", "--seed", "2")
	train, test, err := dataset.LoadIDXDir("new/dir", "digits")
	if err != nil {
		t.Fatal(err)
	}
	wantTrain, wantTest := dataset.DigitsSplit(2)
	if !bytes.Equal(train.Pixels, wantTrain.Pixels) || !slices.Equal(test.Labels, wantTest.Labels) || !bytes.Equal(test.Pixels, wantTest.Pixels) {
		t.Error("the files hold another data set")
	}
	wantError(t, "is there already", dataCommand(), "--export", "new/dir")
	mustRun(t, dataCommand(), "mnist", "--data-dir", "new/dir", "--out", "sheet.png")

	// After an error nothing is left that would pass for a data set.
	wantTest.Labels = nil
	if err := exportIDX("part", wantTrain, wantTest); err == nil {
		t.Error("a set without labels was exported")
	}
	if files, err := os.ReadDir("part"); err != nil || len(files) > 0 {
		t.Errorf("%d files are left, error %v", len(files), err)
	}
}

func TestDataSheet(t *testing.T) {
	t.Chdir(t.TempDir())
	height := func(args ...string) int {
		t.Helper()
		mustRun(t, dataCommand(), append([]string{"--out", "sheet.png"}, args...)...)
		img, err := picture.Load("sheet.png", 1)
		if err != nil {
			t.Fatal(err)
		}
		return img.H
	}
	ten, three := height("--count", "20"), height("--count", "3")
	if d := ten - three; d < 7*28 { // a row a label
		t.Errorf("20 images of ten labels make the sheet %d pixels higher than 3 images", d)
	}
	a, err := os.ReadFile("sheet.png")
	if err != nil {
		t.Fatal(err)
	}
	height("--count", "3", "--noise", "0.5", "--split", "test")
	if b, err := os.ReadFile("sheet.png"); err != nil || bytes.Equal(a, b) {
		t.Errorf("noise changes nothing (error %v)", err)
	}
	f := dataFlags{out: "plain.png", count: 25, split: "train"}
	set := dataset.Digits(30, 1)
	set.Labels = nil
	if err := f.writeSheet(set); err != nil {
		t.Errorf("a set without labels: %v", err)
	}
}

func TestDataErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	wantError(t, `no data set "nothing", want one of digits`, dataCommand(), "nothing")
	wantError(t, "files missing in directory .", dataCommand(), "mnist", "--data-dir", ".")
	wantError(t, "--noise is for a contact sheet", dataCommand(), "--noise", "1")
	wantError(t, "--out: output file is x.jpg", dataCommand(), "--out", "x.jpg")
	wantError(t, "--count is 0", dataCommand(), "--out", "x.png", "--count", "0")
	wantError(t, "--count is 1001, want 1 to 1000", dataCommand(), "--out", "x.png", "--count", "1001")
	wantError(t, `--split is "all"`, dataCommand(), "--out", "x.png", "--split", "all")
	wantError(t, "--noise is -1", dataCommand(), "--out", "x.png", "--noise", "-1")
	if err := os.WriteFile("file", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	wantError(t, "--export: ", dataCommand(), "--export", "file")
}

// What an error of a picture that cannot be read recommends is taken by every command that reads a data set, and does what it says.
func TestSkipUnreadable(t *testing.T) {
	commands := 0
	for _, c := range rootCommand().Commands() {
		if c.Flags().Lookup("data-dir") == nil {
			continue
		}
		commands++
		if c.Flags().Lookup("skip-unreadable") == nil {
			t.Errorf("%s has --data-dir without --skip-unreadable", c.Name())
		}
	}
	if commands < 8 {
		t.Errorf("%d commands read a data set, want more", commands)
	}
	t.Chdir(t.TempDir())
	makeRun(t, "runs/a", 4, 6, 1)
	if err := os.Mkdir("mix", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "c", "d"} {
		mustWrite(t, "mix/"+name+".png", ramp(4, 6, 1))
	}
	write(t, []byte("x"), "mix/b.png")
	makeRun(t, "runs/b", 4, 6, 1)
	write(t, []byte(`[{"epoch": 1}]`), "runs/b/history.json")
	cfg, err := trainer.ReadConfig("runs/b/"+trainer.ConfigFile, trainer.Set("data={name: images, dir: mix}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Write("runs/b/" + trainer.ConfigFile); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		words, want string
	}{
		{"encode mix e.csv --model runs/a --device cpu", "mix -> e.csv: codes (3, "},
		{"eval runs/a --data mix --device cpu", "runs/a on 3 images of images"},
		{"eval runs/b --device cpu", "runs/b on 3 images of images"},
		{"anomalies runs/b --device cpu", "runs/b on 3 samples of images"},
		{"anomalies runs/b mix --device cpu", "runs/b on 3 samples of images"},
		{"pca runs/b --components 1 --device cpu", "3 "},
		{"report runs/b --device cpu", "report: runs/b/report.html"},
		{"interpolate 0 2 between.npy --data mix --split train --model runs/a --device cpu", "between.npy"},
		{"data mix --size 4,6", "train  images: 3"},
	} {
		args := strings.Fields(c.words)
		if _, _, err := run(t, args...); err == nil || !strings.Contains(err.Error(), "--skip-unreadable") {
			t.Errorf("%s: error %v, want one that recommends --skip-unreadable", c.words, err)
		}
		out, notes, err := run(t, append(args, "--skip-unreadable")...)
		if err != nil || !strings.Contains(out, c.want) || !strings.Contains(notes, "note: left out 1 picture that cannot be read: mix/b.png") {
			t.Errorf("%s --skip-unreadable: error %v, printed %q and %q, want %q", c.words, err, out, notes, c.want)
		}
	}
	wantError(t, "--skip-unreadable is for the pictures of a folder", encodeCommand(), "mix/a.png", "e.csv", "--skip-unreadable")
	wantError(t, "data.skip_unreadable is not for digits", evalCommand(), "runs/a", "--data", "digits", "--skip-unreadable")
	wantError(t, "leave out --skip-unreadable", anomaliesCommand(), "runs/a", "mix", "--masks", "masks", "--skip-unreadable")
}
