// Command gen writes the licences of all that is in the program to a file: gen FILE. With -check it compares the file
// instead, and fails if that is out of date. It reads the texts in the module cache.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const program = "github.com/convae/convae/cmd/convae"

func main() {
	log.SetFlags(0)
	check := flag.Bool("check", false, "compare the file instead of writing it")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: gen [-check] FILE")
	}
	text, err := generate()
	if err != nil {
		log.Fatal("licences: ", err)
	}
	path := flag.Arg(0)
	if !*check {
		if err := os.WriteFile(path, text, 0o666); err != nil {
			log.Fatal("licences: ", err)
		}
		return
	}
	if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, text) {
		log.Fatalf("licences: %s is out of date (%v): go generate ./cmd/convae/licences writes it anew", path, err)
	}
}

// generate returns the text: the names of the modules, and then each licence once with what it is for.
func generate() ([]byte, error) {
	plain, err := modules("")
	if err != nil {
		return nil, err
	}
	all, err := modules("cuda")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, "convae, the Go standard library and runtime, and these modules:")
	fmt.Fprintln(&b)
	owners := map[string][]string{} // by text
	for _, name := range slices.Sorted(maps.Keys(all)) {
		gpu := ""
		if _, ok := plain[name]; !ok {
			gpu = " (with GPUs)"
		}
		fmt.Fprintf(&b, "module %s%s\n", name, gpu)
		if err := addTexts(owners, name, all[name]); err != nil {
			return nil, err
		}
	}
	goroot, err := output("go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	for name, dir := range map[string]string{"Go": strings.TrimSpace(goroot), "convae": moduleDir} {
		if err := addTexts(owners, name, dir); err != nil {
			return nil, err
		}
	}
	texts := slices.SortedFunc(maps.Keys(owners), func(x, y string) int { return strings.Compare(rank(owners[x]), rank(owners[y])) })
	for _, text := range texts {
		slices.Sort(owners[text])
		fmt.Fprintf(&b, "\n%s\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(owners[text], "\n"), strings.Repeat("-", 80), text)
	}
	return b.Bytes(), nil
}

// rank puts convae's own licence first, then Go's.
func rank(owners []string) string {
	first := slices.Min(owners)
	return fmt.Sprint(!strings.HasPrefix(first, "convae:"), !slices.ContainsFunc(owners, func(o string) bool { return strings.HasPrefix(o, "Go:") }), first)
}

// moduleDir is the folder of the repository.
var moduleDir = func() string {
	dir, err := output("go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		log.Fatal("licences: ", err)
	}
	return strings.TrimSpace(dir)
}()

// modules returns the folders of the modules that the program is built from with a tag, by path and version.
func modules(tag string) (map[string]string, error) {
	list, err := output("go", "list", "-tags", tag, "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", program)
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{}
	for line := range strings.Lines(list) {
		if name, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			dirs[name] = dir
		}
	}
	return dirs, nil
}

func output(name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	c.Env = append(os.Environ(), "CGO_ENABLED=1", "GOOS=linux", "GOARCH=amd64") // other systems have the same modules
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(c.Args, " "), err)
	}
	return string(out), nil
}

var (
	isNotice = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|copyright|patents)`)
	isFolder = regexp.MustCompile(`(?i)^(licen[cs]es|third_party_licen[cs]es)$`)
	// The terms that are not chosen where there is a choice.
	isOther = regexp.MustCompile(`(?i)^gpl`)
)

// addTexts adds the notices in a module's folder.
func addTexts(owners map[string][]string, name, dir string) error {
	found := false
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		folder, inside, _ := strings.Cut(filepath.ToSlash(rel), "/")
		switch {
		case e.IsDir():
			if rel != "." && !isFolder.MatchString(folder) {
				return fs.SkipDir
			}
			return nil
		case inside == "" && !isNotice.MatchString(e.Name()), isOther.MatchString(e.Name()):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found = true
		key := strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
		owners[key] = append(owners[key], name+": "+filepath.ToSlash(rel))
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%s has no licence in %s", name, dir)
	}
	return err
}
