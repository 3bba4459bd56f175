package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
)

// documents are README.md and what it leads to.
func documents(t *testing.T) (texts map[string]string) {
	t.Helper()
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts = map[string]string{}
	for _, path := range append(paths, "../../README.md", "../../ARCHITECTURE.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[strings.TrimPrefix(path, "../../")] = string(text)
	}
	return texts
}

var (
	blocks   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#+ (.*)$`)
	inline   = regexp.MustCompile("`convae ([^`]*)`")
)

// Links lead to files and headings that there are.
func TestDocumentLinks(t *testing.T) {
	texts := documents(t)
	for name, text := range texts {
		for _, link := range links.FindAllStringSubmatch(blocks.ReplaceAllString(text, ""), -1) {
			path, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			if path = filepath.Join(filepath.Dir(name), path); strings.HasPrefix(link[1], "#") {
				path = name
			}
			if _, err := os.Stat(filepath.Join("../..", path)); err != nil {
				t.Errorf("%s links to %s: %v", name, link[1], err)
			}
			if anchor == "" {
				continue
			}
			var anchors []string
			for _, h := range headings.FindAllStringSubmatch(texts[path], -1) {
				anchors = append(anchors, strings.ReplaceAll(strings.ToLower(regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(h[1], "")), " ", "-"))
			}
			if !slices.Contains(anchors, anchor) {
				t.Errorf("%s links to %s, where the headings are %q", name, link[1], anchors)
			}
		}
	}
}

// shown is a command that a document shows in a block.
type shown struct{ document, line string }

// shownCommands are the lines of the blocks that have no language, in their order.
func shownCommands(t *testing.T) (all []shown) {
	texts := documents(t)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range texts {
			if !yield(name) {
				return
			}
		}
	}) {
		for _, block := range blocks.FindAllStringSubmatch(texts[name], -1) {
			if block[1] != "" {
				continue
			}
			for line := range strings.Lines(strings.ReplaceAll(block[2], "\\\n", " ")) {
				line, _, _ = strings.Cut(line, " #")
				if line = strings.TrimSpace(line); line != "" {
					all = append(all, shown{name, line})
				}
			}
		}
	}
	if len(all) < 20 {
		t.Fatalf("the documents show %d commands", len(all))
	}
	return all
}

// words splits a command as a shell does, as far as the documents need.
func words(line string) (all []string) {
	for _, w := range regexp.MustCompile(`(?:[^\s']|'[^']*')+`).FindAllString(line, -1) {
		all = append(all, strings.ReplaceAll(w, "'", ""))
	}
	return all
}

// otherPrograms are those of shown commands that are not convae, which other tests or CI run, or nothing here can.
var otherPrograms = []string{"go build", "go test", "go run ./scripts", "docker", "sbatch", "kubectl", "CC=mpicc go build", "scripts/", "source"}

// convaeWords returns the arguments of convae in a command, whatever starts it; ok is false if it is another program.
func convaeWords(t *testing.T, c shown) (args []string, launched, ok bool) {
	all := words(c.line)
	for i, w := range all {
		if filepath.Base(w) == "convae" && !slices.ContainsFunc(otherPrograms, func(p string) bool { return strings.HasPrefix(c.line, p) }) {
			return all[i+1:], i > 0 && all[0] != "go", true
		}
	}
	if !slices.ContainsFunc(otherPrograms, func(p string) bool { return strings.HasPrefix(c.line, p) }) {
		t.Errorf("%s shows %q, which is no program that this test knows", c.document, c.line)
	}
	return nil, false, false
}

// checkFlags reports a command that there is not, or one of its flags.
func checkFlags(args []string) error {
	root := rootCommand()
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if c == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("there is no command %s", rest[0])
	}
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	for _, w := range rest {
		name, _, _ := strings.Cut(strings.TrimPrefix(w, "--"), "=")
		if strings.HasPrefix(w, "--") && c.Flags().Lookup(strings.TrimRight(name, ".,")) == nil {
			return fmt.Errorf("%s has no flag %s", c.Name(), w)
		}
	}
	return nil
}

// What the documents mention in a line are commands and flags that there are.
func TestDocumentsMentionCommands(t *testing.T) {
	seen := 0
	for name, text := range documents(t) {
		for _, m := range inline.FindAllStringSubmatch(blocks.ReplaceAllString(text, ""), -1) {
			seen++
			if args := words(strings.ReplaceAll(m[1], `\|`, " ")); args[0] != "completion" && args[0] == strings.ToLower(args[0]) {
				if err := checkFlags(args); err != nil {
					t.Errorf("%s mentions `convae %s`: %v", name, m[1], err)
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("found %d commands", seen)
	}
}

// notRun are shown commands of convae that are only looked at, with the reason.
var notRun = map[string]string{
	"check --device cuda":                                    "there may be no GPU",
	"train --data mnist --device all":                        "there may be no GPU",
	"import stable-diffusion/vae vae.safetensors --size 256": "its 83 million parameters take too long; other tests import smaller ones",
	"train kl-f8 --init vae.safetensors --data FOLDER":       "as above",
	"export my-vae --model RUN":                              "as above",
}

// The commands that documents show are run, in a folder with the files that they name. Training is cut down to a few small steps.
func TestDocumentsShowCommands(t *testing.T) {
	commands := shownCommands(t)
	texts := documents(t)
	t.Chdir(t.TempDir())
	makeShownFiles(t, texts)
	looked := map[string]bool{}
	for _, c := range commands {
		args, launched, ok := convaeWords(t, c)
		if !ok {
			continue
		}
		if err := checkFlags(args); err != nil {
			t.Errorf("%s shows %q: %v", c.document, c.line, err)
			continue
		}
		line := strings.Join(args, " ")
		if _, ok := notRun[line]; ok || launched {
			looked[line] = true
			continue
		}
		if args[0] == "train" {
			args = append(args, "--limit", "4", "--epochs", "1", "--batch", "2", "--log", "lines")
			if !strings.Contains(line, "--device") {
				args = append(args, "--device", "cpu")
			}
			if strings.Contains(line, "mnist") {
				args = append(args, "--data-dir", "idx")
			}
		}
		if _, stderr, err := run(t, args...); err != nil {
			t.Errorf("%s shows %q: %v\n%s", c.document, c.line, err, stderr)
		}
	}
	for line := range notRun {
		if !looked[line] {
			t.Errorf("no document shows %q any more", line)
		}
	}
}

// makeShownFiles makes the files that shown commands read.
func makeShownFiles(t *testing.T, texts map[string]string) {
	t.Helper()
	for i := range 4 {
		for _, path := range []string{"photos/%d.png", "hazelnut/train/good/%d.png", "hazelnut/test/good/%d.png", "hazelnut/test/hole/%d.png", "screw/train/good/%d.png"} {
			write(t, nil, filepath.Dir(path), ".keep")
			mustWrite(t, fmt.Sprintf(path, i), ramp(128, 129+i, 3))
		}
		mask := picture.Image{H: 128, W: 129 + i, C: 1, Pix: make([]float32, 128*(129+i))}
		mask.Pix[5000+i] = 1
		write(t, nil, "hazelnut/ground_truth/hole/.keep")
		mustWrite(t, fmt.Sprintf("hazelnut/ground_truth/hole/%d_mask.png", i), mask)
	}
	makeRun(t, "runs/digits", 28, 28, 1)
	mustWrite(t, "noisy.png", ramp(28, 40, 1))
	mustWrite(t, "blurred.png", ramp(96, 100, 3))
	file, err := os.Create("saved-too-often.jpg")
	if err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(file, picture.ToGoImage(ramp(64, 70, 3)), nil); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	train, test := dataset.DigitsSplit(1)
	for name, set := range map[string]*dataset.Set{"train": train.Slice(0, 8), "t10k": test.Slice(0, 8)} {
		var images, labels bytes.Buffer
		if err := errors.Join(dataset.WriteIDXImages(&images, set), dataset.WriteIDXLabels(&labels, set.Labels)); err != nil {
			t.Fatal(err)
		}
		write(t, images.Bytes(), "idx", name+"-images-idx3-ubyte")
		write(t, labels.Bytes(), "idx", name+"-labels-idx1-ubyte")
	}
	// A configuration that a document calls by the name of a file.
	named := regexp.MustCompile("(?ms)`([\\w-]+\\.yaml)`[^`]*```yaml\n((?:model|base):.*?)^```$")
	for _, text := range texts {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			less := strings.NewReplacer("data.limit: 2000", "data.limit: 4", "validation_limit: 500", "validation_limit: 4", "trials: 9", "trials: 3", "epochs: 1,", "epochs: 5,")
			write(t, []byte(less.Replace(m[2])), m[1]) // of a sweep
		}
	}
}
