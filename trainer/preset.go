package trainer

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

//go:embed presets/*.yaml
var presets embed.FS

// DefaultPreset is the preset that is meant when none is named.
const DefaultPreset = "denoiser"

// Presets lists the built-in configurations, the default first.
func Presets() []string {
	files, err := fs.Glob(presets, "presets/*.yaml")
	if err != nil {
		panic("trainer: the pattern of the presets is malformed")
	}
	names := []string{DefaultPreset}
	for _, f := range files {
		if name := strings.TrimSuffix(strings.TrimPrefix(f, "presets/"), ".yaml"); name != DefaultPreset {
			names = append(names, name)
		}
	}
	return names
}

// PresetText returns a built-in configuration as a file to copy and edit. Its first line is a comment that says what it
// is.
func PresetText(name string) (string, error) {
	text, err := presets.ReadFile("presets/" + name + ".yaml")
	if err != nil {
		return "", fmt.Errorf("there is no preset %q%s", name, Advice(name, Presets(), ": the presets are"))
	}
	return string(text), nil
}

// PresetLine returns what a preset is, in a line.
func PresetLine(name string) (string, error) {
	text, err := PresetText(name)
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimPrefix(line, "# "), err
}

// Preset returns a built-in configuration, with changes as DecodeConfig takes them.
func Preset(name string, changes ...Change) (Config, error) {
	text, err := PresetText(name)
	if err != nil {
		return Config{}, err
	}
	return DecodeConfig(strings.NewReader(text), changes...)
}

// Nearest returns the name that differs least from a misspelt one, "" if all differ too much.
func Nearest(name string, names []string) string {
	best, least := "", len(name)/2+1
	for _, n := range slices.Sorted(slices.Values(names)) {
		if d := editDistance(strings.ToLower(name), n); d < least {
			best, least = n, d
		}
	}
	return best
}

// editDistance is Levenshtein's: the insertions, deletions and changes of letters that make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
