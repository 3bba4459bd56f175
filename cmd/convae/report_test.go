package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/trainer/picture"
)

func readFile(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestReport(t *testing.T) {
	digits := tinyRun(t)
	t.Chdir(t.TempDir())
	out := mustRun(t, reportCommand(), digits, "--samples", "100", "--device", "cpu")
	page := filepath.Join(digits, "report.html")
	if !strings.HasPrefix(out, "report: "+page+"\npictures: "+filepath.Join(digits, "pictures", "rows.png")+", ") {
		t.Errorf("printed %q", out)
	}
	html := readFile(t, page)
	for _, want := range []string{"<h1>tiny</h1>", "The codes of 100 validation samples, 392 numbers each", "noisy input", "<footer>convae ", "; on cpu", "limit: 64"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if n := strings.Count(html, "<img src=\"data:image/png;base64,"); n != 4 {
		t.Errorf("%d pictures, want rows, latent, filters and loss", n)
	}

	if _, stderr, err := run(t, "train", "spiral", "--set", "training.epochs=400", "--set", "training.validation_freq=200", "--out", "runs/spiral"); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	out = mustRun(t, reportCommand(), "--out", "spiral.html", "--pictures", "drawn", "--compare", digits)
	if want := "report: spiral.html\npictures: drawn/analysis.png, drawn/latent.png, drawn/loss.png\n"; out != want {
		t.Errorf("printed %q, want %q", out, want)
	}
	for _, name := range []string{"analysis.png", "latent.png", "loss.png"} {
		if _, err := picture.Load(filepath.Join("drawn", name), 3); err != nil {
			t.Error(err)
		}
	}
	if html = readFile(t, "spiral.html"); !strings.Contains(html, "run has another loss (bce, this run mse)") || !strings.Contains(html, "MAE") || strings.Contains(html, "SSIM") {
		t.Error("the page of the spiral does not compare its loss, or has metrics of images")
	}
}

func TestReportErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	wantError(t, "there is no model in runs/", reportCommand())
	makeRun(t, "runs/same", 28, 28, 1)
	wantError(t, "--samples is 0, want 1 to 1000000", reportCommand(), "--samples", "0")
	wantError(t, "--out: output file is x.png, want a name that ends in .html", reportCommand(), "--out", "x.png")
	wantError(t, "--device abacus", reportCommand(), "--device", "abacus")
	wantError(t, filepath.Join("runs", "same", "history.json"), reportCommand())
	write(t, []byte("[]\n"), "runs/same/history.json")
	wantError(t, "data.dir is not for digits", reportCommand(), "--data-dir", "nowhere")
	wantError(t, "compare with nowhere: config:", reportCommand(), "--compare", "nowhere")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := runContext(ctx, "report"); !errors.Is(err, errInterrupted) {
		t.Errorf("error %v of a report that was interrupted", err)
	}
	if _, err := os.Stat("runs/same/report.html"); err == nil {
		t.Error("there is a report all the same")
	}
	// A run whose training was interrupted in its first epoch has no losses.
	mustRun(t, reportCommand(), "--samples", "10")
	if html := readFile(t, "runs/same/report.html"); !strings.Contains(html, "training ended before its first validation") {
		t.Error("the page does not say that there are no losses")
	}
}
