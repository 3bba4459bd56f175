package dataset

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestLoadDigits(t *testing.T) {
	train, test, err := Load(t.Context(), "digits", "", 11, nil)
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 12000 || test.Len() != 2000 || !bytes.Equal(train.Slice(0, 20).Pixels, Digits(20, 11).Pixels) {
		t.Error("not the digits of that seed")
	}
	train.Name = "mine"
	if again, _, err := Load(t.Context(), "digits", "", 11, nil); err != nil || again.Name != "digits" || !bytes.Equal(again.Pixels, train.Pixels) {
		t.Errorf("the second time: %v, error %v", again, err)
	}
	if _, _, err := Load(t.Context(), "digits", "folder", 11, nil); err == nil || !strings.Contains(err.Error(), "data directory is folder, want none") {
		t.Errorf("error for a data directory is %v", err)
	}
}

func TestLoadFromDir(t *testing.T) {
	dir := idxDir(t)
	for _, name := range Names()[1:] {
		train, test, err := Load(t.Context(), name, dir, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if train.Name != name || train.Len() != 2 || test.Len() != 3 {
			t.Errorf("sets are %+v and %+v", train, test)
		}
	}
}

// Without a directory Load downloads, which a cancelled context forbids.
func TestLoadDownloads(t *testing.T) {
	cache := t.TempDir()
	for _, variable := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(variable, cache)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := Load(ctx, "mnist", "", 0, nil)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), sources[0].Mirrors[0]+trainImages+".gz") {
		t.Errorf("error is %v, want context.Canceled and the address of the download", err)
	}
}

func TestLoadUnknown(t *testing.T) {
	if want := []string{"digits", "mnist", "fashion-mnist"}; !slices.Equal(Names(), want) {
		t.Errorf("names are %v, want %v", Names(), want)
	}
	_, _, err := Load(t.Context(), "cifar", "", 0, nil)
	if want := `no data set "cifar", want one of digits, mnist, fashion-mnist`; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}
