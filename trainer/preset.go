package trainer

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed presets/*.yaml
var presets embed.FS

// Presets lists the built-in configurations.
func Presets() []string {
	files, err := fs.Glob(presets, "presets/*.yaml")
	if err != nil {
		panic("trainer: the pattern of the presets is malformed")
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(f, "presets/"), ".yaml")
	}
	return files
}

// Preset returns a built-in configuration.
func Preset(name string) (Config, error) {
	f, err := presets.Open("presets/" + name + ".yaml")
	if err != nil {
		return Config{}, fmt.Errorf("there is no preset %q: the presets are %s", name, strings.Join(Presets(), ", "))
	}
	defer f.Close()
	return DecodeConfig(f)
}
